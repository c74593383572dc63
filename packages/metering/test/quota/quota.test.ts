import { CoreError } from '@enablement/core'
import { startWorker } from '@enablement/core/schedule'
import type { QuotasOptions } from '@enablement/metering'
import { createQuotas } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { HOUR_MS, limits, settled, stage } from './stage.ts'

describe('a quota', () => {
  it('spends what is there, refuses the rest and says whose counter refused and when to come back', async () => {
    const { quotas, platform } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const resetsAt = Math.floor(platform.clock.now() / HOUR_MS) * HOUR_MS + HOUR_MS
    expect(await tokens.consume(9_000)).toEqual({ outcome: 'consumed', remaining: 1_000, resetsAt, replayed: false })
    expect(await tokens.consume(1_001)).toEqual({
      outcome: 'refused',
      level: { limit: 'llm-tokens', path: [] },
      requested: 1_001,
      remaining: 1_000,
      retryAt: resetsAt
    })
    expect(await tokens.consume(1_000)).toMatchObject({ outcome: 'consumed', remaining: 0 })
  })

  it('does not send anyone away to wait for what will never come', async () => {
    const { quotas } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const seats = quotas.bind({ tenant: 'org', limit: 'seats' })
    expect(await tokens.consume(10_001)).toMatchObject({ outcome: 'refused', retryAt: null })
    expect(await seats.consume(3)).toMatchObject({ outcome: 'consumed', resetsAt: null })
    expect(await seats.consume()).toMatchObject({ outcome: 'refused', requested: 1, retryAt: null })
  })

  it('gives a retry the first answer, and a wrong retry none', async () => {
    const { quotas } = stage()
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

  it('remembers nothing of a refusal: the same key may succeed once units are back (D8)', async () => {
    const { quotas, platform } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await tokens.consume(10_000)
    expect(await tokens.consume(5, { idempotencyKey: 'again' })).toMatchObject({ outcome: 'refused' })
    platform.clock.jumpWallTo(platform.clock.now() + HOUR_MS)
    expect(await tokens.consume(5, { idempotencyKey: 'again' })).toMatchObject({ outcome: 'consumed', replayed: false })
  })

  it('charges several limits in one step: the day that refuses takes nothing from the hour (D7)', async () => {
    const { quotas, platform } = stage()
    const both = quotas.bind({ tenant: 'org', limit: ['llm-tokens', 'daily'] })
    const hour = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    for (let hours = 0; hours < 5; hours++) {
      expect(await both.consume(10_000)).toMatchObject({ outcome: 'consumed' })
      platform.clock.jumpWallTo(platform.clock.now() + HOUR_MS)
    }
    expect(await both.consume(1)).toMatchObject({
      outcome: 'refused',
      level: { limit: 'daily', path: [] },
      remaining: 0
    })
    expect(await hour.remaining()).toMatchObject({ outcome: 'known', remaining: 10_000 })
  })

  it('counts several limits as one quota in whichever order they are named', async () => {
    const { quotas } = stage()
    const spent = await quotas.bind({ tenant: 'org', limit: ['daily', 'seats'] }).consume(1, { idempotencyKey: 'k' })
    expect(
      await quotas.bind({ tenant: 'org', limit: ['seats', 'daily'] }).consume(1, { idempotencyKey: 'k' })
    ).toMatchObject({ outcome: spent.outcome, replayed: true })
  })

  it('says that a limit is unknown, without asking the store', async () => {
    const { quotas, store } = stage()
    const nothing = quotas.bind({ tenant: 'org', limit: ['seats', 'lllm-tokens'] })
    const unknown = { outcome: 'unknown-limit', limit: 'lllm-tokens' }
    expect(await nothing.consume()).toEqual(unknown)
    expect(await nothing.hold(1, { ttlMs: 1_000 })).toEqual(unknown)
    expect(await nothing.remaining()).toEqual(unknown)
    expect(nothing.tryConsume()).toBe('ask')
    await settled()
    expect(store.calls).toEqual([])
  })

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 9e15 + 1, 2 ** 53, '5', 5n, null])(
    'refuses to consume, hold or try %o and asks no store',
    async (amount) => {
      const { quotas, store } = stage()
      const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
      const invalid = { name: 'MeteringError', code: 'INVALID_AMOUNT', detail: { max: 9e15 } }
      await expect(tokens.consume(amount as number)).rejects.toMatchObject(invalid)
      await expect(tokens.hold(amount as number, { ttlMs: 1_000 })).rejects.toMatchObject(invalid)
      expect(() => tokens.tryConsume(amount as number)).toThrow(expect.objectContaining({ code: 'INVALID_AMOUNT' }))
      expect(store.calls).toEqual([])
    }
  )

  it.each([[{ idempotencyKey: '' }], [{ idempotencyKey: 'a\n' }], [{ idempotencyKey: 7 }]])(
    'refuses a call named by %o',
    async (options) => {
      const { quotas, store } = stage()
      const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
      await expect(tokens.consume(1, options as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
      expect(store.calls).toEqual([])
    }
  )

  it('does not consume what is counted while it is in use', async () => {
    const { quotas } = stage()
    const parallel = quotas.bind({ tenant: 'org', limit: 'parallel' })
    await expect(parallel.consume()).rejects.toMatchObject({ code: 'HOLDS_ONLY', detail: { limit: 'parallel' } })
    expect(parallel.tryConsume()).toBe('ask')
    await settled()
    expect(await parallel.remaining()).toMatchObject({ remaining: 2, leased: 0 })
  })

  it('does not take a signal for a failing store, also when its reason is an error of the suite', async () => {
    const { quotas, events } = stage({ onStoreFailure: 'allow' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const signal = AbortSignal.abort(new CoreError('CLOSED', 'the worker was closed', { what: 'worker' }))
    await expect(tokens.consume(1, { signal })).rejects.toBe(signal.reason)
    await expect(tokens.hold(1, { ttlMs: 1_000, signal })).rejects.toBe(signal.reason)
    expect(events).toEqual([])
  })

  it('tells its observer what it decided, and does not mind what that throws', async () => {
    const { quotas, events } = stage()
    const tokens = quotas.bind({ tenant: 'org', path: ['team'], limit: 'llm-tokens' })
    await tokens.consume(9_999, { idempotencyKey: '1' })
    await tokens.consume(2, { idempotencyKey: '2' })
    await tokens.consume(9_999, { idempotencyKey: '1' })
    await tokens.consume(1, { idempotencyKey: '1' })
    const base = { tenant: 'org', path: ['team'], limits: ['llm-tokens'] }
    expect(events).toEqual([
      { type: 'quota.consumed', ...base, amount: 9_999, remaining: 1, replayed: false, elapsedMs: 0 },
      {
        type: 'quota.refused',
        ...base,
        amount: 2,
        level: { limit: 'llm-tokens', path: [] },
        remaining: 1,
        retryAt: expect.any(Number),
        elapsedMs: 0
      },
      { type: 'quota.consumed', ...base, amount: 9_999, remaining: 1, replayed: true, elapsedMs: 0 },
      { type: 'quota.conflicted', ...base, amount: 1, firstAmount: 9_999 }
    ])
    const loud = stage({
      observe: () => {
        throw new Error('observer')
      }
    })
    const bound = loud.quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    expect(await bound.consume(1)).toMatchObject({ outcome: 'consumed' })
  })

  it('may be taken apart: its functions need no this', async () => {
    const { quotas } = stage()
    const { consume, tryConsume } = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    expect(await consume()).toMatchObject({ outcome: 'consumed' })
    expect(tryConsume()).toBe('ask')
  })
})

describe('closed quotas', () => {
  it('take no more calls, and stop their timers', async () => {
    const { quotas, platform } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    tokens.tryConsume()
    await settled()
    expect(tokens.tryConsume()).toBe('consumed')
    const underWay = tokens.consume(5)
    await quotas.close()
    await quotas.close()
    expect(await underWay).toMatchObject({ outcome: 'consumed' })
    const closed = { code: 'CLOSED' }
    await expect(tokens.consume()).rejects.toMatchObject(closed)
    await expect(tokens.hold(1, { ttlMs: 1_000 })).rejects.toMatchObject(closed)
    await expect(tokens.remaining()).rejects.toMatchObject(closed)
    expect(() => tokens.tryConsume()).toThrow(expect.objectContaining(closed))
    expect(platform.clock.pendingTimers).toBe(0)
  })
})

describe('the duty of quotas', () => {
  it('ends holds that nobody ended, and says which', async () => {
    const { quotas, platform, told } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await tokens.hold(100, { ttlMs: 1_000, idempotencyKey: 'work' })
    const worker = startWorker({ duties: [...quotas.duties], platform, pollMs: 500 })
    await platform.clock.advance(2_000)
    await worker.close()
    expect(told('quota.hold-expired')).toMatchObject([{ tenant: 'org', key: 'work' }])
    expect(await tokens.remaining()).toMatchObject({ remaining: 10_000 })
  })
})

describe('quota options', () => {
  const good: QuotasOptions = { store: memoryQuotaStore(), limits, onStoreFailure: 'refuse' }
  const [first] = limits as [(typeof limits)[number]]
  it.each([
    ['no posture', { onStoreFailure: undefined }, 'onStoreFailure'],
    ['an unknown posture', { onStoreFailure: 'maybe' }, 'onStoreFailure'],
    ['no limits', { limits: [] }, 'limits'],
    ['limits that are none', { limits: 'many' }, 'limits'],
    ['two limits of one name', { limits: [first, first] }, 'limits'],
    ['a negative limit', { limits: [{ ...first, quantity: -1 }] }, 'limits.0.quantity'],
    ['a limit above 9e15', { limits: [{ ...first, quantity: 9e15 + 1 }] }, 'limits.0.quantity'],
    ['half a unit', { limits: [{ ...first, quantity: 0.5 }] }, 'limits.0.quantity'],
    ['a period in words', { limits: [{ ...first, period: 'hourly' }] }, 'limits.0.period'],
    ['no quantity at any level', { limits: [{ name: 'a', period: 'lifetime', eachChild: {} }] }, 'limits.0.quantity'],
    [
      'parts that are reserved of no quantity',
      { limits: [{ ...first, children: { a: { share: 'reserved', children: { b: { quantity: 1 } } } } }] },
      'limits.0.children.a.share'
    ],
    ['a child named *', { limits: [{ ...first, children: { '*': { quantity: 1 } } }] }, 'limits.0.children.*'],
    [
      'reserved parts of a rolling limit',
      { limits: [{ ...first, period: { rollingMs: HOUR_MS }, eachChild: { quantity: 1, share: 'reserved' } }] },
      'limits.0.share'
    ],
    ['a name with a colon', { limits: [{ ...first, name: 'a:b' }] }, 'limits.0.name'],
    ['a store that is none', { store: {} }, 'store'],
    ['too short a memory', { idempotencyMs: 10 }, 'idempotencyMs'],
    ['a lease of no time', { lease: { ttlMs: 1 } }, 'lease.ttlMs'],
    ['a breaker of no kind', { breaker: { window: { kind: 'never' } } }, 'window.kind'],
    ['a typing error', { onStoreFail: 'allow' }, 'onStoreFail']
  ])('are refused with %s', (_what, wrong, path) => {
    expect(() => createQuotas({ ...good, ...wrong } as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] })
      })
    )
  })

  it('are refused with more than 64 reserved parts, and with more levels than a call can charge', () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`t${at}`, { quantity: 0 }]))
    let deep: object = { quantity: 1 }
    for (let level = 0; level < 15; level++) deep = { quantity: 1, eachChild: deep }
    const limitOf = (members: object) => [{ ...first, ...members }]
    expect(() => createQuotas({ ...good, limits: limitOf(deep) })).not.toThrow()
    const tooDeep = { quantity: 1, eachChild: deep }
    const loop: { quantity: number; eachChild?: object } = { quantity: 1 }
    loop.eachChild = loop
    for (const wrong of [{ share: 'reserved', children: many }, tooDeep, loop]) {
      expect(() => createQuotas({ ...good, limits: limitOf(wrong) })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS' })
      )
    }
  })

  it.each([
    [{}],
    [{ tenant: '', limit: 'seats' }],
    [{ tenant: 'org' }],
    [{ tenant: 'org', limit: [] }],
    [{ tenant: 'org', limit: ['seats', 'seats'] }],
    [{ tenant: 'org', limit: 'seats', path: 'team' }],
    [{ tenant: 'org', limit: 'seats', path: [''] }],
    [{ tenant: 'org', limit: 'seats', path: ['*'] }],
    [{ tenant: 'org', limit: 'seats', path: Array.from({ length: 16 }, () => 'a') }],
    [{ tenant: 'org', limit: 'seats', subject: 'a' }]
  ])('refuse to bind %o', (binding) => {
    expect(() => createQuotas(good).bind(binding as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})
