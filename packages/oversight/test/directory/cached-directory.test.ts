import { getEventListeners } from 'node:events'
import { testPlatform } from '@enablement/core/testing'
import {
  type CachedDirectoryEvent,
  type CachedDirectoryOptions,
  cachedDirectory,
  createDirectory
} from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { asking, people, scripted } from './people.ts'

const DAY_MS = 86_400_000
const START_AT = Date.UTC(2026, 0, 5)

function setUp(options: Partial<CachedDirectoryOptions> = {}) {
  const platform = testPlatform()
  const events: CachedDirectoryEvent[] = []
  const behind = scripted(
    createDirectory({
      approvers: people('ana', 'bo', 'cy'),
      groups: { all: ['ana', 'bo'], none: [] },
      schedules: {
        primary: {
          zone: 'UTC',
          layers: [
            { name: 'l', participants: ['ana', 'bo'], startsOn: '2026-01-05', handoffAt: '00:00', every: { days: 1 } }
          ]
        }
      }
    })
  )
  const directory = cachedDirectory(behind, {
    freshMs: 1_000,
    staleMs: 60_000,
    platform,
    observe: (event) => events.push(event),
    ...options
  })
  const find = (id: string, tenant = 'acme') => directory.find(id, asking(tenant))
  const members = async (group: string) => await directory.members?.(group, asking())
  const onCall = async (at: number) => await directory.onCall?.('primary', { ...asking(), at })
  return { platform, clock: platform.clock, events, behind, directory, find, members, onCall }
}

describe('a cached directory', () => {
  it('asks once for a storm of requests, and again when the answer is no longer fresh', async () => {
    const { clock, behind, members } = setUp()
    const answers = await Promise.all(Array.from({ length: 100 }, () => members('all')))
    expect(new Set(answers)).toEqual(new Set([['ana', 'bo']]))
    await clock.advance(999)
    await members('all')
    expect(behind.asked).toEqual(['members all'])
    await clock.advance(1)
    await members('all')
    expect(behind.asked).toHaveLength(2)
  })

  it('remembers that there is nobody', async () => {
    const { behind, find } = setUp()
    expect([await find('zoe'), await find('zoe')]).toEqual([undefined, undefined])
    expect(behind.asked).toEqual(['find zoe'])
  })

  it('does not mix up tenants, nor people with groups', async () => {
    const { behind, find, members } = setUp()
    await Promise.all([find('all'), find('all', 'globex'), members('all'), find('b', 'acme,a'), find('a,b')])
    expect(behind.asked).toHaveLength(5)
  })

  it('takes who is on call for instants near the one asked about, and for no others', async () => {
    const { behind, onCall } = setUp()
    const handoff = START_AT + DAY_MS
    expect(await onCall(handoff - 1_000)).toEqual(['ana'])
    expect(await onCall(handoff - 1)).toEqual(['ana'])
    expect(behind.asked).toHaveLength(1)
    expect(await onCall(handoff)).toEqual(['bo'])
    expect(await onCall(handoff + 7 * DAY_MS)).toEqual(['ana'])
    expect(behind.asked).toHaveLength(3)
    const weeks = [handoff + 14 * DAY_MS, handoff + 21 * DAY_MS]
    expect(await Promise.all(weeks.map(onCall))).toEqual([['bo'], ['ana']])
  })

  it('gives an old answer while the directory fails, and says so once until it asks again', async () => {
    const { clock, events, behind, members } = setUp()
    await members('all')
    behind.mood = 'rejects'
    await clock.advance(1_500)
    expect(await Promise.all([members('all'), members('all')])).toEqual([
      ['ana', 'bo'],
      ['ana', 'bo']
    ])
    await clock.advance(999)
    expect(await members('all')).toEqual(['ana', 'bo'])
    expect(behind.asked).toHaveLength(2)
    expect(events).toMatchObject([
      { type: 'directory.stale', tenant: 'acme', asked: { kind: 'group', name: 'all' }, ageMs: 1_500 }
    ])
    await clock.advance(1)
    behind.mood = 'answers'
    expect(await members('all')).toEqual(['ana', 'bo'])
    expect([behind.asked.length, events.length]).toEqual([3, 1])
  })

  it('gives no answer that is older than it may be', async () => {
    const { clock, behind, find } = setUp({ staleMs: 3_000 })
    await find('ana')
    behind.mood = 'rejects'
    await clock.advance(2_500)
    expect(await find('ana')).toMatchObject({ id: 'ana' })
    await clock.advance(499)
    expect(await find('ana')).toMatchObject({ id: 'ana' })
    await clock.advance(1)
    await expect(find('ana')).rejects.toThrow('the server is down')
  })

  it('gives no old answer about a time further away than an answer may be old', async () => {
    const { clock, behind, onCall } = setUp()
    await onCall(START_AT)
    behind.mood = 'rejects'
    await clock.advance(1_000)
    expect(await onCall(START_AT + 59_999)).toEqual(['ana'])
    await expect(onCall(START_AT + 60_000)).rejects.toThrow('the server is down')
    await expect(onCall(START_AT - 60_000)).rejects.toThrow('the server is down')
  })

  it('gives no old answer at all with staleMs 0', async () => {
    const { clock, behind, find } = setUp({ staleMs: 0 })
    await find('ana')
    behind.mood = 'throws'
    expect(await find('ana')).toMatchObject({ id: 'ana' })
    await clock.advance(1_000)
    await expect(find('ana')).rejects.toThrow('thrown at once')
  })

  it('never gives an old "nobody" while the directory fails', async () => {
    const { clock, behind, find, members } = setUp()
    await Promise.all([find('zoe'), members('none')])
    behind.mood = 'rejects'
    await clock.advance(1_000)
    await expect(find('zoe')).rejects.toThrow('the server is down')
    await expect(members('none')).rejects.toThrow('the server is down')
  })

  it('does not remember a failure', async () => {
    const { behind, find } = setUp()
    behind.mood = 'rejects'
    await expect(find('ana')).rejects.toThrow('the server is down')
    behind.mood = 'answers'
    expect(await find('ana')).toMatchObject({ id: 'ana' })
  })

  it('takes a directory that does not answer for one that fails', async () => {
    const { clock, events, behind, find } = setUp({ timeoutMs: 250 })
    await find('ana')
    behind.mood = 'hangs'
    await clock.advance(1_000)
    const answers = Promise.allSettled([find('ana'), find('bo')])
    await clock.advance(250)
    expect(await answers).toMatchObject([
      { status: 'fulfilled', value: { id: 'ana' } },
      { status: 'rejected', reason: { code: 'TIMED_OUT', detail: { timeoutMs: 250 } } }
    ])
    expect(events).toMatchObject([{ ageMs: 1_250, error: { code: 'TIMED_OUT' } }])
  })

  it('lets one give up without ending the question for the others', async () => {
    const { behind, directory, find } = setUp()
    const abort = new AbortController()
    const given = directory.find('ana', { tenant: 'acme', signal: abort.signal })
    const other = find('ana')
    abort.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    expect(await other).toMatchObject({ id: 'ana' })
    expect(behind.asked).toEqual(['find ana'])
    await new Promise((resolve) => setImmediate(resolve))
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0)
  })

  it('tells the directory when its time is up, and not when one of those who ask gives up', async () => {
    const { clock } = testPlatform()
    const signals: AbortSignal[] = []
    const directory = cachedDirectory(
      {
        find: (_, { signal }) => {
          signals.push(signal)
          return new Promise(() => {})
        }
      },
      { freshMs: 1, staleMs: 0, timeoutMs: 250, platform: { ...testPlatform(), clock } }
    )
    const abort = new AbortController()
    const given = directory.find('ana', { tenant: 'acme', signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    expect(signals.map(({ aborted }) => aborted)).toEqual([false])
    await clock.advance(250)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
  })

  it('keeps no more answers than it may, the latest ones', async () => {
    const { behind, find } = setUp({ entriesMax: 2 })
    for (const id of ['ana', 'bo', 'cy', 'bo', 'cy', 'ana']) await find(id)
    expect(behind.asked).toEqual(['find ana', 'find bo', 'find cy', 'find ana'])
  })

  it('lets an answer that was given again stay for longer', async () => {
    const { clock, behind, find } = setUp({ entriesMax: 2 })
    for (const id of ['ana', 'bo']) await find(id)
    await clock.advance(1_000)
    for (const id of ['ana', 'cy', 'ana']) await find(id)
    expect(behind.asked).toEqual(['find ana', 'find bo', 'find ana', 'find cy'])
  })

  it('has no groups and no schedules where the directory has none', () => {
    const simple = cachedDirectory({ find: async () => undefined }, { freshMs: 1, staleMs: 0 })
    expect([simple.members, simple.onCall]).toEqual([undefined, undefined])
  })

  it.each<[string, object, string]>([
    ['without a word on staleness', { freshMs: 1_000 }, 'staleMs'],
    ['with a staleness below freshness', { freshMs: 1_000, staleMs: 999 }, 'staleMs'],
    ['with a freshness of NaN', { freshMs: Number.NaN, staleMs: 0 }, 'freshMs'],
    ['with a freshness of no time', { freshMs: 0, staleMs: 0 }, 'freshMs'],
    ['with a misspelt option', { freshMs: 1, staleMs: 0, timeOutMs: 5 }, 'timeOutMs']
  ])('is not made %s', (_, options, path) => {
    const detail = expect.objectContaining({ issues: [expect.objectContaining({ path })] })
    expect(() => cachedDirectory({ find: async () => undefined }, options as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', detail })
    )
  })
})
