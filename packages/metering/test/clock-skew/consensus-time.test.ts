import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, type VirtualClock, virtualClock } from '@enablement/core/testing'
import {
  type ClockEvent,
  type ConsensusTimeOptions,
  clockTimeSource,
  createConsensusTime,
  httpTimeSource,
  type TimeResponse,
  type TimeSource
} from '@enablement/metering'
import { sqlTimeSource } from '@enablement/metering/sql'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const scale = inject('scale')

/** A source that is `aheadMs` ahead of the virtual clock's monotonic truth, and may be changed as the test goes. */
interface Scripted extends TimeSource {
  aheadMs: number
  fails: boolean
  hangs: boolean
  asked: number
}

function stage(aheads: readonly number[], options: Partial<ConsensusTimeOptions> & { errorMs?: number } = {}) {
  const { errorMs = 10, ...rest } = options
  const clock = virtualClock()
  const truthAt = clock.now()
  const truth = () => truthAt + clock.monotonic()
  const events: ClockEvent[] = []
  const sources = aheads.map((aheadMs, at): Scripted => {
    const source: Scripted = {
      name: `source ${at}`,
      aheadMs,
      fails: false,
      hangs: false,
      asked: 0,
      async now() {
        source.asked += 1
        if (source.hangs) await new Promise(() => {})
        if (source.fails) throw new Error('down')
        return { epochMs: truth() + source.aheadMs, errorMs }
      }
    }
    return source
  })
  const time = createConsensusTime({
    sources,
    platform: { clock, random: seededRandom(1) },
    observe: (event) => events.push(event),
    ...rest
  })
  const types = () => events.map(({ type }) => type)
  return { clock, truth, sources: sources as [Scripted, ...Scripted[]], time, events, types }
}

/** Lets what was started in the background end. */
const settle = (clock: VirtualClock) => clock.advance(0)

describe('the consensus of several time sources', () => {
  it('leaves an outlier out, whichever way it is off', async () => {
    for (const wrong of [-3_600_000, -500, 500, 3_600_000]) {
      const { time, events, truth } = stage([3, -4, wrong])
      const { at, basis, errorMs } = await time.refresh()
      expect(basis).toBe('agreed')
      expect(Math.abs(at - truth())).toBeLessThanOrEqual(10)
      expect(errorMs).toBeLessThanOrEqual(20)
      expect(events).toEqual([
        { type: 'time.outlier', source: 'source 2', offsetMs: expect.any(Number) },
        expect.objectContaining({ type: 'time.agreed', agreeing: 2, sources: 3 })
      ])
    }
  })

  it('needs more than half: of two that differ neither is believed', async () => {
    const { time, events, clock } = stage([0, 60_000])
    expect(await time.refresh()).toEqual({ at: clock.now(), basis: 'own-clock', errorMs: undefined })
    expect(events).toEqual([{ type: 'time.disagreed', agreeing: 1, sources: 2 }])
  })

  it.each([-800, 800])('is where sources agree most closely, of two majorities: one is %d ms off', async (wrong) => {
    const clock = virtualClock()
    const source = (name: string, aheadMs: number, errorMs: number): TimeSource => ({
      name,
      now: async () => ({ epochMs: clock.now() + aheadMs, errorMs })
    })
    const sources = [source('coarse', 0, 500), source('fine', 0, 10), source('wrong', wrong, 400)]
    const time = createConsensusTime({ sources, platform: { clock, random: seededRandom(1) } })
    expect(await time.refresh()).toEqual({ at: clock.now(), basis: 'agreed', errorMs: 500 })
  })

  it('is not moved by a minority, however its members collude', async () => {
    const { time, truth } = stage([1, 0, -1, 90_000, 90_000])
    expect(Math.abs((await time.refresh()).at - truth())).toBeLessThanOrEqual(10)
  })

  test.prop(
    [
      fc.array(fc.integer({ min: -10, max: 10 }), { minLength: 2, maxLength: 8 }),
      fc.array(fc.integer({ min: -100_000, max: 100_000 }), { minLength: 0, maxLength: 7 })
    ],
    { numRuns: Math.ceil(100 * scale) }
  )('is within the error of a right source, whatever fewer than half say', async (right, wrong) => {
    const { time, truth } = stage([...right, ...wrong.slice(0, right.length - 1)])
    const { at, basis, errorMs } = await time.refresh()
    expect(basis).toBe('agreed')
    expect(Math.abs(at - truth())).toBeLessThanOrEqual((errorMs as number) + 1)
    expect(Math.abs(at - truth())).toBeLessThanOrEqual(21)
  })

  it('says how far the own clock is off', async () => {
    const { clock, time, events, truth } = stage([0, 0, 0])
    clock.jumpWallTo(clock.now() + 90_000)
    await time.refresh()
    expect(events).toEqual([{ type: 'time.agreed', agreeing: 3, sources: 3, ownOffsetMs: 90_000 }])
    expect(time.now()).toBe(truth())
  })

  it('counts those that do not answer as no part of a majority', async () => {
    const { sources, time, types, clock } = stage([0, 0, 0])
    const [first, second] = sources as [Scripted, Scripted]
    first.fails = true
    expect((await time.refresh()).basis).toBe('agreed')
    second.fails = true
    const { at, basis } = await time.refresh()
    expect([at, basis]).toEqual([clock.now(), 'held'])
    expect(types()).toEqual(['time.source-failed', 'time.agreed', 'time.source-failed', 'time.disagreed'])
    first.fails = false
    expect((await time.refresh()).basis).toBe('agreed')
    expect(types().slice(4)).toEqual(['time.source-recovered', 'time.agreed'])
  })

  it('does not wait for one that hangs, nor asks it again until it has answered', async () => {
    const { sources, time, clock, types } = stage([0, 0, 0], { timeoutMs: 500 })
    sources[0].hangs = true
    const refreshed = time.refresh()
    await clock.advance(501)
    expect((await refreshed).basis).toBe('agreed')
    await time.refresh()
    await time.refresh()
    expect(sources[0].asked).toBe(1)
    expect(types()).toEqual(['time.source-failed', 'time.agreed'])
    expect(clock.pendingTimers).toBe(0)
  })

  it('takes a source that answers with no time for one that failed', async () => {
    const answers = [
      ...[Number.NaN, undefined, '2026', Number.POSITIVE_INFINITY].map((epochMs) => ({ epochMs, errorMs: 1 })),
      // In seconds, in microseconds, and with an error within which everybody agrees.
      ...[1_780_000_000, 1.78e15].map((epochMs) => ({ epochMs, errorMs: 1 })),
      ...[Number.POSITIVE_INFINITY, Number.NaN, -1].map((errorMs) => ({ epochMs: 1_780_000_000_000, errorMs }))
    ]
    for (const answer of answers) {
      const bad = { name: 'bad', now: async () => answer as { epochMs: number; errorMs: number } }
      const { time, types } = stage([], { sources: [bad] })
      expect((await time.refresh()).basis).toBe('own-clock')
      expect(types()).toEqual(['time.source-failed', 'time.disagreed'])
    }
  })

  it('adds to the error how long an answer was under way', async () => {
    const clock = virtualClock()
    const slow: TimeSource = {
      name: 'slow',
      now: () =>
        new Promise((resolve) => clock.startTimer(400, () => resolve({ epochMs: clock.now() - 200, errorMs: 5 })))
    }
    const time = createConsensusTime({ sources: [slow], platform: { clock, random: seededRandom(1) } })
    const refreshed = time.refresh()
    await clock.advance(401)
    const { at, errorMs } = await refreshed
    // True 200 ms after it was asked, and nobody knows which way took how long.
    expect(Math.abs(at - clock.now())).toBeLessThanOrEqual(205)
    expect(errorMs).toBeGreaterThanOrEqual(205)
    expect(errorMs).toBeLessThan(206)
  })
})

describe('the consensus time between refreshes', () => {
  it('is the own clock’s until there is one', async () => {
    const { clock, time } = stage([0, 0, 0])
    expect(time.reading()).toEqual({ at: clock.now(), basis: 'own-clock', errorMs: undefined })
    await settle(clock)
    expect(time.reading().basis).toBe('agreed')
  })

  it('is read at once, asks once however many read it, and only when a minute has passed', async () => {
    const { clock, time, sources, types } = stage([0, 0, 0])
    for (let reads = 0; reads < 100; reads++) time.now()
    await settle(clock)
    expect(sources.map(({ asked }) => asked)).toEqual([1, 1, 1])
    expect(types()).toEqual(['time.agreed'])
    await clock.advance(59_999)
    time.now()
    await settle(clock)
    expect(sources[0].asked).toBe(1)
    await clock.advance(1)
    time.now()
    await settle(clock)
    expect(sources[0].asked).toBe(2)
  })

  it('runs on the monotonic clock, so that setting the wall clock back does not set it back', async () => {
    const { clock, time, truth } = stage([0, 0, 0])
    await time.refresh()
    clock.jumpWallTo(clock.now() - 3_600_000)
    expect(time.now()).toBe(truth())
    await clock.advance(1_000)
    expect(time.now()).toBe(truth())
  })

  it('believes a wall clock that ran ahead, as after a sleep, until the sources have answered', async () => {
    const { clock, time, sources, truth } = stage([0, 0, 0])
    await time.refresh()
    await clock.advance(10_000)
    clock.jumpWallTo(clock.now() + 600_000)
    expect(time.now()).toBe(truth() + 600_000)
    await settle(clock)
    expect(sources[0].asked).toBe(2)
    expect(time.now()).toBe(truth())
  })

  it('holds the last consensus for an hour with a growing error, then uses the own clock', async () => {
    const { clock, time, sources, truth } = stage([0, 0, 0])
    const errorMs = (await time.refresh()).errorMs as number
    for (const source of sources) source.fails = true
    await clock.advance(3_600_000)
    expect(time.reading()).toEqual({ at: truth(), basis: 'held', errorMs: errorMs + 180 })
    await clock.advance(1)
    expect(time.reading()).toEqual({ at: clock.now(), basis: 'own-clock', errorMs: undefined })
  })

  it('asks again after five seconds where there was no majority, however often it is read and clocks jump', async () => {
    const { clock, time, sources } = stage([0, 0])
    await time.refresh()
    sources[0].aheadMs = 60_000
    for (let reads = 0; reads < 10; reads++) {
      clock.jumpWallTo(clock.now() + 10_000)
      time.now()
      await settle(clock)
    }
    expect(sources[0].asked).toBe(1)
    await clock.advance(5_000)
    for (let reads = 0; reads < 10; reads++) {
      time.now()
      await settle(clock)
    }
    expect(sources[0].asked).toBe(2)
    await clock.advance(5_000)
    time.now()
    await settle(clock)
    expect(sources[0].asked).toBe(3)
  })

  it('closes: aborts what is under way, asks nobody any more, and goes on', async () => {
    const { clock, time, sources, truth } = stage([0, 0, 0])
    await time.refresh()
    sources[0].hangs = true
    const pending = time.refresh()
    await Promise.all([expect(pending).rejects.toMatchObject({ code: 'CLOSED' }), time.close()])
    await expect(time.refresh()).rejects.toMatchObject({ code: 'CLOSED' })
    await clock.advance(60_000)
    expect(time.now()).toBe(truth())
    expect(sources[0].asked).toBe(2)
    expect(clock.pendingTimers).toBe(0)
  })

  it('lets a caller stop waiting', async () => {
    const { time, sources } = stage([0, 0, 0])
    sources[0].hangs = true
    const abortion = new AbortController()
    const pending = time.refresh({ signal: abortion.signal })
    abortion.abort(new Error('enough'))
    await expect(pending).rejects.toThrow('enough')
    await expect(time.refresh({ signal: abortion.signal })).rejects.toThrow('enough')
    await time.close()
  })

  it.each([
    ['sources', { sources: [] }],
    ['sources.0', { sources: [{ name: 'no clock' }] }],
    ['sources', { sources: [clockTimeSource(), clockTimeSource()] }],
    ['refreshMs', { refreshMs: 0 }],
    ['timeoutMs', { timeoutMs: Number.NaN }],
    ['holdMs', { holdMs: 1_000 }],
    ['refesh', { refesh: 1 }]
  ])('refuses a wrong %s', (path, wrong) => {
    const options = { sources: [clockTimeSource()], ...wrong } as ConsensusTimeOptions
    expect(() => createConsensusTime(options)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })
})

describe('the time source', () => {
  const { signal } = new AbortController()
  const answer = (headers: Record<string, string>, body: unknown = {}, status = 200): TimeResponse => ({
    ok: status === 200,
    status,
    headers: { get: (name) => headers[name] ?? null },
    json: async () => body
  })

  it('of this machine says what its clock says', async () => {
    const clock = virtualClock()
    expect(await clockTimeSource({ clock }).now({ signal })).toEqual({ epochMs: clock.now(), errorMs: 1_000 })
    expect(() => clockTimeSource({ errorMs: -1 })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })

  it('of a database says what its clock says', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    const { epochMs, errorMs } = await sqlTimeSource(db, { errorMs: 5 }).now({ signal })
    expect(Math.abs(epochMs - Date.now())).toBeLessThan(60_000)
    expect(errorMs).toBe(5)
  })

  it('of an HTTP server reads the date that a real one sends', async () => {
    const server = createServer((_request, response) => response.end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      const { epochMs, errorMs } = await httpTimeSource({ url: `http://127.0.0.1:${port}/` }).now({ signal })
      expect(Math.abs(epochMs - Date.now())).toBeLessThan(60_000)
      expect(errorMs).toBe(600)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('of an HTTP server takes the middle of the second that the date names', async () => {
    const source = httpTimeSource({
      url: 'https://time.example/',
      fetch: async () => answer({ date: 'Mon, 01 Jun 2026 00:00:00 GMT' })
    })
    expect(source.name).toBe('time.example')
    expect(await source.now({ signal })).toEqual({ epochMs: Date.UTC(2026, 5, 1) + 500, errorMs: 600 })
  })

  it('of an HTTP server reads JSON', async () => {
    const source = httpTimeSource({
      name: 'ntp bridge',
      url: 'https://time.example/now',
      epochMsOf: (body) => (body as { unix: number }).unix * 1_000,
      errorMs: 2,
      fetch: async (_url, { method }) => answer({}, { unix: method === 'GET' ? 1_780_272_000.5 : 0 })
    })
    expect(await source.now({ signal })).toEqual({ epochMs: 1_780_272_000_500, errorMs: 2 })
  })

  it.each([
    ['from a cache', answer({ date: 'Mon, 01 Jun 2026 00:00:00 GMT', age: '12' })],
    ['with an error', answer({ date: 'Mon, 01 Jun 2026 00:00:00 GMT' }, {}, 503)],
    ['without a date', answer({})],
    ['with a date that is none', answer({ date: 'noon' })]
  ])('of an HTTP server fails when it answers %s', async (_how, response) => {
    const source = httpTimeSource({ url: 'https://time.example/', fetch: async () => response })
    await expect(source.now({ signal })).rejects.toThrow('time.example')
  })

  it.each(['ftp://time.example/', 'noon', ''])('of an HTTP server refuses the address %j', (url) => {
    expect(() => httpTimeSource({ url })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
