import { inspect } from 'node:util'
import { CoreError, type Usage, type UsageSink } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import {
  createMeter,
  type Meter,
  MeteringError,
  type MeteringEvent,
  type UsageEvent,
  type UsageStore
} from '@enablement/metering'
import { memoryUsageStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15, 10, 30)

/** How long events are under way. */
const DRIFT_MS = 1_000

const event: Usage = {
  tenant: 'org',
  subscription: 'sub',
  transactionId: 'call-1',
  metric: 'tokens',
  quantity: 5,
  at: AT
}

const whole = { tenant: 'org', subscription: 'sub', from: AT, to: AT + 1 }

function setUp(store: UsageStore = memoryUsageStore()) {
  const platform = testPlatform({ now: AT + DRIFT_MS })
  const events: MeteringEvent[] = []
  const meter = createMeter({ store, platform, observe: (event) => events.push(event) })
  return { meter, events, platform }
}

/** A store that fails in the calls given by number, from 0. */
function failingAt(calls: readonly number[], error: Error): UsageStore {
  const store = memoryUsageStore()
  let call = -1
  return {
    ...store,
    record(entries, options) {
      call += 1
      return calls.includes(call) ? Promise.reject(error) : store.record(entries, options)
    }
  }
}

const down = new CoreError('STORE_UNAVAILABLE', 'the disk is full', { store: 'sqlite', operation: 'write' })

describe('recording usage', () => {
  it('counts an event once and says when it came first', async () => {
    const { meter, platform } = setUp()
    const firstReceivedAt = platform.clock.now()
    expect(await meter.record(event)).toEqual({ outcome: 'recorded', at: AT, driftMs: DRIFT_MS })
    await platform.clock.advance(1_000)
    expect(await meter.record({ ...event })).toEqual({ outcome: 'duplicate', firstReceivedAt })
    expect(await meter.record({ ...event, properties: {} })).toEqual({ outcome: 'duplicate', firstReceivedAt })
    expect(await meter.record({ ...event, quantity: 6 })).toEqual({ outcome: 'conflict', firstReceivedAt })
    expect(await meter.totals(whole)).toEqual([{ metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }])
  })

  it('takes properties in any order for the same', async () => {
    const { meter } = setUp()
    const flat = { ...event, transactionId: 'flat' }
    await meter.record({ ...flat, properties: { b: 1, a: 'x', 10: 2, 9: true } })
    expect(await meter.record({ ...flat, properties: { 9: true, a: 'x', 10: 2, b: 1 } })).toMatchObject({
      outcome: 'duplicate'
    })
    await meter.record({ ...event, properties: { a: 1, b: { c: 2, d: [3] } } })
    expect(await meter.record({ ...event, properties: { b: { d: [3], c: 2 }, a: 1 } })).toMatchObject({
      outcome: 'duplicate'
    })
    expect(await meter.record({ ...event, properties: { a: 1, b: { c: 2, d: [4] } } })).toMatchObject({
      outcome: 'conflict'
    })
  })

  it('counts what it was given, whatever the caller does to it meanwhile', async () => {
    const { meter } = setUp()
    const changing = { ...event, quantity: 5 }
    const recording = meter.record(changing)
    changing.quantity = 500
    await recording
    expect(await meter.totals(whole)).toEqual([{ metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }])
  })

  it('rejects what is not an event, and stores nothing', async () => {
    const { meter, events } = setUp()
    expect(await meter.record({ ...event, quantity: -1 })).toEqual({
      outcome: 'rejected',
      issues: [{ path: 'quantity', message: expect.stringMatching(/./) }]
    })
    expect(await meter.totals(whole)).toEqual([])
    expect(events).toEqual([{ type: 'usage.rejected', paths: ['quantity'] }])
  })

  it('throws when the store fails, and counts once when asked again', async () => {
    const { meter, events } = setUp(failingAt([0], down))
    await expect(meter.record(event)).rejects.toMatchObject({
      name: 'MeteringError',
      code: 'STORE_FAILED',
      detail: { operation: 'record usage', reason: 'STORE_UNAVAILABLE' },
      cause: down
    })
    expect(events).toMatchObject([{ type: 'usage.store-failed' }])
    expect(await meter.record(event)).toEqual({ outcome: 'recorded', at: AT, driftMs: DRIFT_MS })
  })

  it('throws on what is not a failure of the store as it is', async () => {
    const { meter } = setUp(failingAt([0], new TypeError('a bug')))
    await expect(meter.record(event)).rejects.toThrow(TypeError)
    const gone = AbortSignal.abort(new Error('gone'))
    await expect(meter.record(event, { signal: gone })).rejects.toThrow('gone')
    expect(await meter.totals(whole)).toEqual([])
  })

  it('throws the reason of a signal as it is, also when that is an error of the suite', async () => {
    const { meter, events } = setUp()
    const signal = AbortSignal.abort(new CoreError('CLOSED', 'the worker was closed', { what: 'worker' }))
    await expect(meter.record(event, { signal })).rejects.toBe(signal.reason)
    await expect(meter.recordBatch([event], { signal })).rejects.toBe(signal.reason)
    await expect(meter.totals(whole, { signal })).rejects.toBe(signal.reason)
    expect(events).toEqual([])
  })

  it('tells its observer names and numbers, and no properties', async () => {
    const { meter, events, platform } = setUp()
    const secret = { ...event, properties: { apiKey: 'sk-secret' } }
    await meter.record(secret)
    await meter.record(secret)
    await meter.record({ ...secret, quantity: 6 })
    const identity = { tenant: 'org', subscription: 'sub' }
    const repeat = { ...identity, transactionId: 'call-1', firstReceivedAt: platform.clock.now() }
    expect(events).toEqual([
      { type: 'usage.recorded', ...identity, metric: 'tokens', quantity: 5, lateness: 'on-time' },
      { type: 'usage.duplicated', ...repeat },
      { type: 'usage.conflicted', ...repeat }
    ])
    const loud = createMeter({
      store: memoryUsageStore(),
      observe: () => {
        throw new Error('observer')
      }
    })
    expect(await loud.record(event)).toMatchObject({ outcome: 'recorded' })
  })
})

describe('recording a batch', () => {
  const batch = (count: number): UsageEvent[] =>
    Array.from({ length: count }, (_, at) => ({ ...event, transactionId: `t${at}` }))

  it('goes on after a bad event and gives each its outcome, in order', async () => {
    const { meter, platform } = setUp()
    const firstReceivedAt = platform.clock.now()
    const outcomes = await meter.recordBatch([
      event,
      { ...event, transactionId: '' },
      event,
      { ...event, quantity: 7 },
      null as never,
      { ...event, transactionId: 'call-2' }
    ])
    expect(outcomes).toMatchObject([
      { outcome: 'recorded' },
      { outcome: 'rejected', issues: [{ path: 'transactionId' }] },
      { outcome: 'duplicate', firstReceivedAt },
      { outcome: 'conflict', firstReceivedAt },
      { outcome: 'rejected', issues: [{ path: '' }] },
      { outcome: 'recorded' }
    ])
    expect(await meter.totals(whole)).toEqual([{ metric: 'tokens', rollup: 'sum', quantity: 10n, events: 2 }])
  })

  it('takes 10,000 events and no more', async () => {
    const { meter } = setUp()
    const outcomes = await meter.recordBatch(batch(10_000))
    expect(outcomes.every(({ outcome }) => outcome === 'recorded')).toBe(true)
    await expect(meter.recordBatch(batch(10_001))).rejects.toMatchObject({
      code: 'BATCH_TOO_LARGE',
      detail: { events: 10_001, limit: 10_000 }
    })
    await expect(meter.recordBatch('events' as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(await meter.recordBatch([])).toEqual([])
  })

  it('goes on after a unit that failed, and says which events it left in doubt', async () => {
    const { meter } = setUp(failingAt([1], down))
    const events = batch(600)
    const outcomes = await meter.recordBatch(events)
    expect(outcomes.map(({ outcome }) => outcome)).toEqual([
      ...Array(256).fill('recorded'),
      ...Array(256).fill('unknown'),
      ...Array(88).fill('recorded')
    ])
    const again = await meter.recordBatch(events)
    expect(again.filter(({ outcome }) => outcome === 'recorded')).toHaveLength(256)
    expect(again.filter(({ outcome }) => outcome === 'duplicate')).toHaveLength(344)
    expect(await meter.totals(whole)).toEqual([{ metric: 'tokens', rollup: 'sum', quantity: 3_000n, events: 600 }])
  })
})

describe('totals', () => {
  it.each([
    ['no range', { tenant: 'org', subscription: 'sub' }],
    ['a range that ends before it begins', { ...whole, to: AT - 1 }],
    ['a range in seconds', { ...whole, from: 1_768_435_200 }],
    ['no tenant', { ...whole, tenant: '' }],
    ['a typing error', { ...whole, metrics: 'tokens' }]
  ])('are refused for %s', async (_what, query) => {
    const { meter } = setUp()
    await expect(meter.totals(query as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  })

  it('are empty for an empty range', async () => {
    const { meter } = setUp()
    await meter.record(event)
    expect(await meter.totals({ ...whole, to: AT })).toEqual([])
  })

  it('list a thousand metrics, and say so beyond', async () => {
    const { meter } = setUp()
    const named = (count: number): UsageEvent[] =>
      Array.from({ length: count }, (_, at) => ({ ...event, transactionId: `t${at}`, metric: `m${at}` }))
    await meter.recordBatch(named(1_000))
    expect(await meter.totals(whole)).toHaveLength(1_000)
    await meter.recordBatch(named(1_001))
    await expect(meter.totals(whole)).rejects.toMatchObject({ code: 'TOO_MANY_METRICS', detail: { limit: 1_000 } })
    expect(await meter.totals({ ...whole, metric: 'm7' })).toHaveLength(1)
  })

  it('throw when the store fails', async () => {
    const { meter } = setUp({ ...memoryUsageStore(), totals: () => Promise.reject(down) })
    await expect(meter.totals(whole)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      detail: { operation: 'add up usage' }
    })
  })
})

describe('a meter as a usage sink', () => {
  it('resolves once the usage is counted, now or before', async () => {
    const { meter } = setUp()
    const sink: UsageSink = meter
    await sink.accept(event)
    await sink.accept(event)
    expect(await meter.totals(whole)).toEqual([{ metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }])
  })

  it('throws for usage that is malformed or contradicts what was counted', async () => {
    const { meter, platform } = setUp()
    const rejected = await meter.accept({ ...event, quantity: 0.5 }).catch((error: unknown) => error)
    expect(rejected).toBeInstanceOf(MeteringError)
    expect(rejected).toMatchObject({ code: 'USAGE_REJECTED', detail: { issues: [{ path: 'quantity' }] } })
    await meter.accept(event)
    await expect(meter.accept({ ...event, quantity: 6 })).rejects.toMatchObject({
      code: 'USAGE_CONFLICT',
      detail: { transactionId: 'call-1', firstReceivedAt: platform.clock.now() }
    })
  })

  it('keeps properties out of its errors', async () => {
    const { meter } = setUp()
    await meter.accept({ ...event, properties: { apiKey: 'sk-secret' } })
    const wrong = [
      { ...event, properties: { apiKey: 'sk-secret-2' } },
      { ...event, transactionId: 'call-2', properties: { apiKey: 'sk-secret', big: 'x'.repeat(9_000) } }
    ]
    for (const usage of wrong) {
      const error = await meter.accept(usage).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(MeteringError)
      expect(inspect(error, { depth: 10 }) + JSON.stringify(error)).not.toContain('sk-secret')
    }
  })
})

describe('meter options', () => {
  it.each([
    ['no store', {}],
    ['a store that is none', { store: {} }],
    ['an observer that is none', { store: memoryUsageStore(), observe: true }],
    ['a typing error', { store: memoryUsageStore(), observer: () => {} }]
  ])('are refused with %s', (_what, options) => {
    expect((): Meter => createMeter(options as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
