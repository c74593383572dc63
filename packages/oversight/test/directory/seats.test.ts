import { getEventListeners } from 'node:events'
import {
  type ApproverDirectory,
  type ApproverRef,
  createDirectory,
  type DirectoryContents,
  type SeatQuestion,
  seatsOf
} from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { asking, people, person, scripted } from './people.ts'

const AT = Date.parse('2026-01-06T12:00Z')

const resolve = (
  approvers: readonly ApproverRef[],
  contents: DirectoryContents | ApproverDirectory | undefined,
  changed: Partial<SeatQuestion> = {}
) => {
  const directory = contents === undefined || 'find' in contents ? contents : createDirectory(contents)
  return seatsOf({ approvers }, { directory, ...asking(), at: AT, ...changed })
}
const ids = async (resolved: ReturnType<typeof resolve>) => (await resolved).seats.map(({ approver }) => approver)

const crowd = (size: number): readonly string[] => Array.from({ length: size }, (_, n) => `p${n}`)

const unavailable = (because: string, kind: string, name: string) => ({
  name: 'OversightError',
  code: 'DIRECTORY_UNAVAILABLE',
  detail: { tenant: 'acme', asked: { kind, name }, because }
})

describe('a tier', () => {
  it('becomes the seats of those whom it names, of groups and of those on call', async () => {
    const contents: DirectoryContents = {
      approvers: [
        person('ana', { roles: ['finance'], authority: 3, principal: 'Ana Ortiz' }),
        ...people('bo', 'cy', 'dee')
      ],
      groups: { leads: ['bo', 'cy'] },
      schedules: {
        primary: {
          zone: 'UTC',
          layers: [
            { name: 'l', participants: ['cy', 'dee'], startsOn: '2026-01-05', handoffAt: '12:00', every: { days: 1 } }
          ]
        }
      }
    }
    const tier = [{ group: 'leads' }, { onCall: 'primary' }, 'ana']
    expect(await resolve(tier, contents)).toEqual({
      seats: [
        { approver: 'ana', principal: 'Ana Ortiz', roles: ['finance'], authority: 3, via: { kind: 'named' } },
        { approver: 'bo', principal: 'bo', roles: [], authority: 0, via: { kind: 'group', of: 'leads' } },
        { approver: 'cy', principal: 'cy', roles: [], authority: 0, via: { kind: 'group', of: 'leads' } },
        { approver: 'dee', principal: 'dee', roles: [], authority: 0, via: { kind: 'on-call', of: 'primary' } }
      ],
      absent: [],
      unknown: [],
      cut: []
    })
    expect(await ids(resolve([{ onCall: 'primary' }], contents, { at: AT - 1 }))).toEqual(['cy'])
  })

  it('seats a person once, however they come to be asked; a name before a group', async () => {
    const contents = { approvers: people('ana', 'bo'), groups: { all: ['ana', 'bo'], more: ['bo'] } }
    const { seats } = await resolve([{ group: 'all' }, { group: 'more' }, 'bo', 'bo'], contents)
    expect(seats.map(({ approver, via }) => [approver, via])).toEqual([
      ['bo', { kind: 'named' }],
      ['ana', { kind: 'group', of: 'all' }]
    ])
  })

  it('seats one principal once, under whichever id comes first (pitfall 20)', async () => {
    const approvers = [
      person('ana'),
      person('ana-admin', { principal: 'ana' }),
      person('ana-bot', { principal: 'ANA' })
    ]
    expect(await resolve(['ana-admin', 'ana', 'ana-bot'], { approvers })).toMatchObject({
      seats: [{ approver: 'ana-admin', principal: 'ana' }],
      absent: [
        { approver: 'ana', because: 'seated-already', via: { kind: 'named' } },
        { approver: 'ana-bot', because: 'seated-already', via: { kind: 'named' } }
      ]
    })
  })

  it('says whom, which group and which schedule nobody knows, and asks the others', async () => {
    const tier = ['zoe', { group: 'board' }, { onCall: 'nights' }, 'ana']
    expect(await resolve(tier, { approvers: people('ana') })).toMatchObject({
      seats: [{ approver: 'ana' }],
      absent: [{ approver: 'zoe', because: 'not-known', via: { kind: 'named' } }],
      unknown: [{ group: 'board' }, { onCall: 'nights' }]
    })
    const { members: _, onCall: __, ...simple } = createDirectory({ approvers: people('ana') })
    expect((await resolve(tier, simple)).unknown).toEqual([{ group: 'board' }, { onCall: 'nights' }])
  })

  it('takes everyone named at their word without a directory, and knows no groups', async () => {
    expect(await resolve(['ana', { group: 'all' }, 'Ana'], undefined)).toEqual({
      seats: [{ approver: 'ana', principal: 'ana', roles: [], authority: 0, via: { kind: 'named' } }],
      absent: [{ approver: 'Ana', because: 'seated-already', via: { kind: 'named' } }],
      unknown: [{ group: 'all' }],
      cut: []
    })
  })

  it('may turn out to be nobody (pitfall 17)', async () => {
    const nobody = { seats: [], absent: [], unknown: [], cut: [] }
    expect(await resolve([], undefined)).toEqual(nobody)
    expect(await resolve([{ group: 'none' }], { approvers: [], groups: { none: [] } })).toEqual(nobody)
  })

  it('has 50 seats, and says for how many of which entry there was none', async () => {
    const all = crowd(70)
    const contents = { approvers: people('ana', ...all), groups: { crowd: all, some: ['p65', 'p66'] } }
    const { seats, cut } = await resolve([{ group: 'crowd' }, { group: 'some' }, 'ana'], contents)
    expect(seats.map(({ approver }) => approver)).toEqual(['ana', ...all.slice(0, 49)])
    expect(cut).toEqual([{ from: { group: 'crowd' }, people: 21 }])
  })

  it('fills its seats past those who are away, and looks up no more people than 256', async () => {
    const away = [{ from: 0, until: AT + 1 }]
    const all = crowd(1_000)
    const contents = (here: number): DirectoryContents => ({
      approvers: all.map((id, n) => person(id, n < here ? { away } : {})),
      groups: { crowd: all }
    })
    expect(await ids(resolve([{ group: 'crowd' }], contents(60)))).toEqual(all.slice(60, 110))
    const directory = scripted(createDirectory(contents(1_000)))
    expect(await resolve([{ group: 'crowd' }], directory)).toMatchObject({ seats: [], cut: [{ people: 744 }] })
    expect(directory.asked).toHaveLength(1 + 256)
  })
})

describe('an absence', () => {
  const away = (delegate?: string) => [{ from: AT, until: AT + 1_000, ...(delegate === undefined ? {} : { delegate }) }]

  it('is half-open, to the millisecond', async () => {
    const contents = { approvers: [person('ana', { away: away() })] }
    const seated = await Promise.all(
      [AT - 1, AT, AT + 999, AT + 1_000].map((at) => ids(resolve(['ana'], contents, { at })))
    )
    expect(seated).toEqual([['ana'], [], [], ['ana']])
  })

  it('puts the delegate in the seat, with their own roles', async () => {
    const approvers = [
      person('ana', { away: away('bo'), roles: ['finance'], authority: 9, principal: 'Ana Ortiz' }),
      person('bo', { roles: ['ops'] })
    ]
    expect(await resolve(['ana'], { approvers })).toEqual({
      seats: [
        {
          approver: 'bo',
          principal: 'bo',
          roles: ['ops'],
          authority: 0,
          via: { kind: 'delegate-of', of: 'ana', principal: 'Ana Ortiz' }
        }
      ],
      absent: [{ approver: 'ana', because: 'away', via: { kind: 'named' } }],
      unknown: [],
      cut: []
    })
  })

  it('goes one step: a delegate who is away is not asked, nor is theirs', async () => {
    const approvers = [person('ana', { away: away('bo') }), person('bo', { away: away('cy') }), person('cy')]
    expect(await resolve(['ana'], { approvers })).toMatchObject({
      seats: [],
      absent: [
        { approver: 'ana', because: 'away', via: { kind: 'named' } },
        { approver: 'bo', because: 'away', via: { kind: 'delegate-of', of: 'ana' } }
      ]
    })
  })

  it('ends in nobody when two people delegate to each other', async () => {
    const approvers = [person('ana', { away: away('bo') }), person('bo', { away: away('ana') })]
    expect(await ids(resolve(['ana', 'bo'], { approvers }))).toEqual([])
  })

  it('does not make a delegate of someone who is asked anyway', async () => {
    const approvers = [person('ana', { away: away('bo') }), person('cy', { away: away('bo') }), person('bo')]
    const { seats } = await resolve(['ana', 'bo'], { approvers })
    expect(seats).toMatchObject([{ approver: 'bo', via: { kind: 'named' } }])
    const shared = await resolve(['ana', 'cy'], { approvers })
    expect(shared.seats).toMatchObject([{ approver: 'bo', via: { kind: 'delegate-of', of: 'ana' } }])
    expect(shared.absent.at(-1)).toMatchObject({ approver: 'bo', because: 'seated-already' })
  })

  it('with a delegate whom nobody knows leaves the seat empty', async () => {
    const directory: ApproverDirectory = {
      find: async (id) => (id === 'ana' ? person('ana', { away: away('gone') }) : undefined)
    }
    expect((await resolve(['ana'], directory)).absent.at(-1)).toEqual({
      approver: 'gone',
      because: 'not-known',
      via: { kind: 'delegate-of', of: 'ana' }
    })
  })
})

describe('an outage of the directory', () => {
  const working = createDirectory({ approvers: people('ana', 'bo'), groups: { all: ['ana'] } })

  it.each(['throws', 'rejects'] as const)('is told apart from nobody when it %s', async (mood) => {
    const directory = Object.assign(scripted(working), { mood })
    await expect(resolve(['ana'], directory)).rejects.toMatchObject(unavailable('failed', 'approver', 'ana'))
    await expect(resolve([{ group: 'all' }], directory)).rejects.toMatchObject(unavailable('failed', 'group', 'all'))
    const onCall = resolve([{ onCall: 'primary' }], directory)
    await expect(onCall).rejects.toMatchObject(unavailable('failed', 'on-call', 'primary'))
    await expect(onCall).rejects.toHaveProperty('cause.message')
  })

  it('is told when it does not answer before the signal aborts, whether or not it heeds that', async () => {
    const directory = Object.assign(scripted(working), { mood: 'hangs' as const })
    const abort = new AbortController()
    const resolved = resolve(['ana', 'bo'], directory, { signal: abort.signal })
    const reason = new Error('10 s have passed')
    abort.abort(reason)
    await expect(resolved).rejects.toMatchObject({ ...unavailable('unanswered', 'approver', 'ana'), cause: reason })
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0)
  })

  it('is told without asking when the signal has aborted already', async () => {
    const directory = scripted(working)
    const resolved = resolve(['ana'], directory, { signal: AbortSignal.abort() })
    await expect(resolved).rejects.toMatchObject(unavailable('unanswered', 'approver', 'ana'))
    expect(directory.asked).toEqual([])
  })

  it('leaves no listener behind when it answers', async () => {
    const { signal } = new AbortController()
    await resolve(['ana', 'bo', { group: 'all' }], scripted(working), { signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it.each<[string, unknown]>([
    ['somebody else', person('bo')],
    ['null', null],
    ['a string', 'ana'],
    ['no addresses', { id: 'ana', name: 'Ana' }],
    ['roles that are no list', { ...person('ana'), roles: 'finance' }],
    ['an authority of NaN', { ...person('ana'), authority: Number.NaN }],
    ['an absence without an end', { ...person('ana'), away: [{ from: 0 }] }]
  ])('is an answer that makes no sense: %s', async (_, answer) => {
    const directory = { find: async () => answer } as unknown as ApproverDirectory
    await expect(resolve(['ana'], directory)).rejects.toMatchObject(unavailable('malformed', 'approver', 'ana'))
  })

  it.each<[unknown]>([['ana'], [null], [[undefined]], [['system:root']], [{ length: 1 }], [crowd(10_001)]])(
    'is a list of members that is none: %.40j',
    async (answer) => {
      const directory = { ...working, members: async () => answer, onCall: async () => answer } as ApproverDirectory
      await expect(resolve([{ group: 'all' }], directory)).rejects.toMatchObject(
        unavailable('malformed', 'group', 'all')
      )
      await expect(resolve([{ onCall: 'p' }], directory)).rejects.toMatchObject(
        unavailable('malformed', 'on-call', 'p')
      )
    }
  )

  it('is not seen in members that oversight does not know', async () => {
    const directory = { find: async () => ({ ...person('ana'), mail: 'x', roles: undefined }) } as never
    expect(await ids(resolve(['ana'], directory))).toEqual(['ana'])
  })
})
