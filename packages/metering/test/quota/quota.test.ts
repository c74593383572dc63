import { CoreError } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import {
  createQuotas,
  type Limit,
  type MeteringEvent,
  type QuotaSpend,
  type QuotaStore,
  type QuotasOptions
} from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'

const HOUR_MS = 3_600_000

const limits: readonly Limit[] = [
  { name: 'llm-tokens', quantity: 10_000, period: { everyMs: HOUR_MS } },
  { name: 'seats', quantity: 3, period: 'lifetime' }
]

function setUp(options: Partial<QuotasOptions> = {}) {
  const platform = testPlatform()
  const events: MeteringEvent[] = []
  const quotas = createQuotas({
    store: memoryQuotaStore({ platform }),
    limits,
    onStoreFailure: 'refuse',
    platform,
    observe: (event) => events.push(event),
    ...options
  })
  return { quotas, events, platform }
}

const failing = (error: Error): QuotaStore => ({
  supports: { durable: 'none', shared: false },
  consume: () => Promise.reject(error)
})

describe('a quota', () => {
  it('spends what is there, refuses the rest and says when to come back', async () => {
    const { quotas, platform } = setUp()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const resetsAt = Math.floor(platform.clock.now() / HOUR_MS) * HOUR_MS + HOUR_MS
    expect(await tokens.consume(9_000, { idempotencyKey: '1' })).toEqual({
      outcome: 'consumed',
      remaining: 1_000,
      resetsAt,
      replayed: false
    })
    expect(await tokens.consume(1_001, { idempotencyKey: '2' })).toEqual({
      outcome: 'refused',
      level: 'tenant',
      limit: 'llm-tokens',
      requested: 1_001,
      remaining: 1_000,
      retryAt: resetsAt
    })
    expect(await tokens.consume(1_000, { idempotencyKey: '3' })).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('does not send anyone away to wait for what will never come', async () => {
    const { quotas } = setUp()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const seats = quotas.bind({ tenant: 'org', limit: 'seats', subject: 'team-a' })
    expect(await tokens.consume(10_001, { idempotencyKey: '1' })).toMatchObject({ outcome: 'refused', retryAt: null })
    expect(await seats.consume(3, { idempotencyKey: '1' })).toMatchObject({ outcome: 'consumed', resetsAt: null })
    expect(await seats.consume(1, { idempotencyKey: '2' })).toMatchObject({
      outcome: 'refused',
      level: 'subject',
      retryAt: null
    })
  })

  it('gives a retry the first answer, and a wrong retry none', async () => {
    const { quotas } = setUp()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const first = await tokens.consume(10, { idempotencyKey: 'call' })
    await tokens.consume(5, { idempotencyKey: 'other' })
    expect(await tokens.consume(10, { idempotencyKey: 'call' })).toEqual({ ...first, replayed: true })
    expect(await tokens.consume(11, { idempotencyKey: 'call' })).toEqual({
      outcome: 'conflict',
      requested: 11,
      firstAmount: 10
    })
    expect(await tokens.consume(1, { idempotencyKey: 'next' })).toMatchObject({ remaining: 9_984 })
  })

  it('says that a limit is unknown, without asking the store', async () => {
    const { quotas } = setUp({ store: failing(new Error('asked')) })
    const nothing = quotas.bind({ tenant: 'org', limit: 'lllm-tokens' })
    expect(await nothing.consume(1, { idempotencyKey: '1' })).toEqual({
      outcome: 'unknown-limit',
      limit: 'lllm-tokens'
    })
  })

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 9e15 + 1, '5', 5n, undefined, null])(
    'refuses to consume %o and asks no store',
    async (amount) => {
      const { quotas } = setUp({ store: failing(new Error('asked')) })
      const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
      await expect(tokens.consume(amount as number, { idempotencyKey: '1' })).rejects.toMatchObject({
        name: 'MeteringError',
        code: 'INVALID_AMOUNT',
        detail: { max: 9e15 }
      })
    }
  )

  it.each([[undefined], [{}], [{ idempotencyKey: '' }], [{ idempotencyKey: 'a\n' }], [{ idempotencyKey: 7 }]])(
    'refuses a call named by %o',
    async (options) => {
      const { quotas } = setUp({ store: failing(new Error('asked')) })
      const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
      await expect(tokens.consume(1, options as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    }
  )

  it('spends nothing for a caller that has given up', async () => {
    const { quotas } = setUp()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const gone = AbortSignal.abort(new Error('gone'))
    await expect(tokens.consume(1, { idempotencyKey: '1', signal: gone })).rejects.toThrow('gone')
    expect(await tokens.consume(10_000, { idempotencyKey: '2' })).toMatchObject({ outcome: 'consumed' })
  })

  it('does not take a signal for a failing store, also when its reason is an error of the suite', async () => {
    const { quotas, events } = setUp({ onStoreFailure: 'allow' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const signal = AbortSignal.abort(new CoreError('CLOSED', 'the worker was closed', { what: 'worker' }))
    await expect(tokens.consume(1, { idempotencyKey: '1', signal })).rejects.toBe(signal.reason)
    expect(events).toEqual([])
  })

  it('tells its observer what it decided, and does not mind what that throws', async () => {
    const { quotas, events } = setUp()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await tokens.consume(9_999, { idempotencyKey: '1' })
    await tokens.consume(2, { idempotencyKey: '2' })
    await tokens.consume(2, { idempotencyKey: '1' })
    await tokens.consume(9_999, { idempotencyKey: '1' })
    const base = { tenant: 'org', limit: 'llm-tokens' }
    expect(events).toEqual([
      { type: 'quota.consumed', ...base, amount: 9_999, remaining: 1, replayed: false, elapsedMs: 0 },
      { type: 'quota.refused', ...base, amount: 2, remaining: 1, elapsedMs: 0 },
      { type: 'quota.conflicted', ...base, amount: 2, firstAmount: 9_999 },
      { type: 'quota.consumed', ...base, amount: 9_999, remaining: 1, replayed: true, elapsedMs: 0 }
    ])
    const loud = setUp({
      observe: () => {
        throw new Error('observer')
      }
    })
    const bound = loud.quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    expect(await bound.consume(1, { idempotencyKey: '1' })).toMatchObject({ outcome: 'consumed' })
  })
})

describe('a quota whose store fails', () => {
  const down = new CoreError('STORE_UNAVAILABLE', 'redis is down', { store: 'redis', operation: 'consume' })

  it.each([
    ['refuse', false],
    ['allow', true]
  ] as const)('answers as the posture %s says, and says that it is no decision', async (onStoreFailure, allowed) => {
    const { quotas, events } = setUp({ store: failing(down), onStoreFailure })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const outcome = await tokens.consume(1, { idempotencyKey: '1' })
    expect(outcome).toMatchObject({
      outcome: 'unavailable',
      allowed,
      error: { name: 'MeteringError', code: 'STORE_FAILED', detail: { reason: 'STORE_UNAVAILABLE' }, cause: down }
    })
    expect(events).toMatchObject([
      { type: 'quota.unavailable', tenant: 'org', limit: 'llm-tokens', amount: 1, allowed }
    ])
  })

  it('lets nothing pass on account of a bug', async () => {
    const { quotas } = setUp({ store: failing(new TypeError('a bug')), onStoreFailure: 'allow' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await expect(tokens.consume(1, { idempotencyKey: '1' })).rejects.toThrow(TypeError)
  })

  it('counts a full memory store among the failures', async () => {
    const { quotas } = setUp({ store: memoryQuotaStore({ entriesMax: 2 }) })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await tokens.consume(1, { idempotencyKey: '1' })
    await tokens.consume(1, { idempotencyKey: '2' })
    expect(await tokens.consume(1, { idempotencyKey: '3' })).toMatchObject({
      outcome: 'unavailable',
      error: { detail: { reason: 'OVERLOADED' } }
    })
    expect(await tokens.consume(1, { idempotencyKey: '2' })).toMatchObject({ outcome: 'consumed', replayed: true })
  })
})

describe('memory of spends', () => {
  it('shrinks by itself once the keys have expired', async () => {
    const platform = testPlatform()
    const store = memoryQuotaStore({ platform, entriesMax: 100 })
    const spend = (idempotencyKey: string): QuotaSpend => ({
      tenant: 'org',
      limit: 'seats',
      quantity: 9e15,
      period: 'lifetime',
      amount: 1,
      idempotencyKey,
      idempotencyMs: 1_000
    })
    for (let call = 0; call < 100; call++) await store.consume(spend(`a${call}`))
    await expect(store.consume(spend('more'))).rejects.toMatchObject({ code: 'OVERLOADED' })
    await platform.clock.advance(1_000)
    for (let call = 0; call < 200; call++) {
      await store.consume(spend(`b${call}`))
      if (call % 50 === 49) await platform.clock.advance(1_000)
    }
  })
})

describe('quota options', () => {
  const good: QuotasOptions = { store: memoryQuotaStore(), limits, onStoreFailure: 'refuse' }
  it.each([
    ['no posture', { onStoreFailure: undefined }, 'onStoreFailure'],
    ['an unknown posture', { onStoreFailure: 'maybe' }, 'onStoreFailure'],
    ['no limits', { limits: [] }, 'limits'],
    ['two limits of one name', { limits: [limits[0], limits[0]] }, 'limits'],
    ['a negative limit', { limits: [{ ...limits[0], quantity: -1 }] }, 'limits.0.quantity'],
    ['a limit above 9e15', { limits: [{ ...limits[0], quantity: 9e15 + 1 }] }, 'limits.0.quantity'],
    ['half a unit', { limits: [{ ...limits[0], quantity: 0.5 }] }, 'limits.0.quantity'],
    ['a period in words', { limits: [{ ...limits[0], period: 'hourly' }] }, 'limits.0.period'],
    ['a period of nothing', { limits: [{ ...limits[0], period: { everyMs: 0 } }] }, 'limits.0.period.everyMs'],
    ['a name with a colon', { limits: [{ ...limits[0], name: 'a:b' }] }, 'limits.0.name'],
    ['a store that is none', { store: {} }, 'store'],
    ['too short a memory', { idempotencyMs: 10 }, 'idempotencyMs'],
    ['a typing error', { onStoreFail: 'allow' }, 'onStoreFail']
  ])('are refused with %s', (_what, wrong, path) => {
    expect(() => createQuotas({ ...good, ...wrong } as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'createQuotas', issues: [expect.objectContaining({ path })] }
      })
    )
  })

  it.each([[{}], [{ tenant: '', limit: 'seats' }], [{ tenant: 'org' }], [{ tenant: 'org', limit: 'seats', path: [] }]])(
    'refuse to bind %o',
    (binding) => {
      expect(() => createQuotas(good).bind(binding as never)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS' })
      )
    }
  )
})
