import type { Limit, QuotaHold } from '@enablement/metering'
import { describe, expect, it } from 'vitest'
import { settled, stage, storeDown } from './stage.ts'

const base = { tenant: 'org', path: [], limits: ['llm-tokens'] }

describe('a quota whose store fails', () => {
  it.each([
    ['refuse', false],
    ['lease-only', false],
    ['allow', true]
  ] as const)('answers as the posture %s says, and says that it is no decision', async (onStoreFailure, allowed) => {
    const { quotas, store, told } = stage({ onStoreFailure })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    store.fault = 'down'
    const error = {
      name: 'MeteringError',
      code: 'STORE_FAILED',
      detail: { operation: 'consume from quotas', reason: 'STORE_UNAVAILABLE' },
      cause: storeDown()
    }
    expect(await tokens.consume(1)).toMatchObject({ outcome: 'unavailable', allowed, reason: 'store-failed', error })
    expect(await tokens.hold(1, { ttlMs: 1_000 })).toMatchObject({ outcome: 'unavailable', allowed })
    expect(await tokens.remaining()).toMatchObject({ outcome: 'unavailable', allowed })
    expect(told('quota.unavailable')).toMatchObject([
      { ...base, amount: 1, allowed, reason: 'store-failed' },
      { ...base, amount: 1, allowed, reason: 'store-failed' }
    ])
    await quotas.close()
  })

  it('lets nothing pass on account of a bug, and does not open the breaker for it', async () => {
    const { quotas, store } = stage({ onStoreFailure: 'allow' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    store.fault = 'bug'
    for (let call = 0; call < 10; call++) {
      await expect(tokens.consume()).rejects.toThrow(TypeError)
      await expect(tokens.hold(1, { ttlMs: 1_000 })).rejects.toThrow(TypeError)
    }
    store.fault = 'none'
    expect(await tokens.consume()).toMatchObject({ outcome: 'consumed' })
  })

  it('is not asked while the breaker is open, and no error is made per call (pitfall 4.6.2)', async () => {
    const { quotas, store, platform, told } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    store.fault = 'down'
    for (let call = 0; call < 5; call++) await tokens.consume()
    expect(told('breaker.opened')).toHaveLength(1)
    const asked = store.calls.length
    const first = await tokens.consume()
    const second = await tokens.consume()
    expect(first).toMatchObject({ outcome: 'unavailable', allowed: false, reason: 'circuit-open' })
    expect('error' in first && 'error' in second && first.error === second.error && first.error !== undefined).toBe(
      true
    )
    expect(store.calls).toHaveLength(asked)
    store.fault = 'none'
    await platform.clock.advance(5_001)
    expect(await tokens.consume()).toMatchObject({ outcome: 'consumed' })
  })

  it('spends what it leased before, under lease-only, and a key once', async () => {
    const { quotas, store, told } = stage({ onStoreFailure: 'lease-only' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    for (let call = 0; call < 4; call++) tokens.tryConsume(10)
    await settled()
    store.fault = 'down'
    const leased = told('quota.leased')[0]?.units ?? 0
    expect(leased).toBeGreaterThan(30)
    expect(await tokens.consume(10, { idempotencyKey: 'k' })).toMatchObject({
      outcome: 'consumed',
      remaining: leased - 10,
      replayed: false
    })
    expect(await tokens.consume(10, { idempotencyKey: 'k' })).toMatchObject({ outcome: 'consumed', replayed: true })
    expect(await tokens.consume(9, { idempotencyKey: 'k' })).toMatchObject({ outcome: 'conflict', firstAmount: 10 })
    expect(await tokens.consume(leased)).toMatchObject({ outcome: 'unavailable', allowed: false })
    store.fault = 'none'
    // The store does not know the key, and this process does.
    expect(await tokens.consume(10, { idempotencyKey: 'k' })).toMatchObject({ outcome: 'consumed', replayed: true })
    await quotas.close()
    expect(told('quota.consumed-from-lease')).toMatchObject([{ ...base, amount: 10 }])
  })

  it('under allow is told later what was let through, under the same key, so that a lost answer is no second spend', async () => {
    const { quotas, store, platform, told } = stage({ onStoreFailure: 'allow' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    store.fault = 'lost'
    expect(await tokens.consume(100, { idempotencyKey: 'lost' })).toMatchObject({ allowed: true })
    store.fault = 'down'
    expect(await tokens.consume(10, { idempotencyKey: 'down' })).toMatchObject({ allowed: true })
    expect(await tokens.consume(1)).toMatchObject({ allowed: true })
    await platform.clock.advance(3_000)
    expect(told('quota.booked')).toEqual([])
    store.fault = 'none'
    await platform.clock.advance(70_000)
    expect(told('quota.booked').map(({ amount }) => amount)).toEqual([100, 10, 1])
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_889 })
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('is told what was let through although one of its tenants cannot be booked', async () => {
    let plan: Limit = { name: 'llm-tokens', quantity: 100, period: 'lifetime' }
    const sound: Limit = plan
    const { quotas, store, platform, told } = stage({
      onStoreFailure: 'allow',
      limits: (tenant) => (tenant === 'odd' ? plan : sound)
    })
    const [odd, other] = ['odd', 'other'].map((tenant) => quotas.bind({ tenant, limit: 'llm-tokens' }))
    store.fault = 'down'
    await odd?.consume(1)
    await other?.consume(2)
    plan = { ...sound, eachChild: { quantity: 101 } }
    store.fault = 'none'
    await platform.clock.advance(2_000)
    expect(told('quota.backlog-failed')[0]).toMatchObject({ tenant: 'odd', error: { code: 'LIMIT_CONFLICT' } })
    expect(told('quota.booked')).toMatchObject([{ tenant: 'other', amount: 2 }])
    await quotas.close()
    expect(told('quota.unbooked')).toMatchObject([{ tenant: 'odd', amount: 1, because: 'closed' }])
  })

  it('reports what it let through beyond the limit, and what it could not book before it was closed', async () => {
    const { quotas, store, platform, told } = stage({ onStoreFailure: 'allow' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    await tokens.consume(9_999)
    store.fault = 'down'
    await tokens.consume(2)
    store.fault = 'none'
    await platform.clock.advance(2_000)
    expect(told('quota.unbooked')).toEqual([{ type: 'quota.unbooked', ...base, amount: 2, because: 'exceeded' }])
    store.fault = 'down'
    await tokens.consume(3)
    await quotas.close()
    expect(told('quota.unbooked')[1]).toMatchObject({ amount: 3, because: 'closed' })
  })

  it('holds nothing under allow and books what is committed, whether or not the hold was made', async () => {
    for (const fault of ['down', 'lost'] as const) {
      const { quotas, store, platform } = stage({ onStoreFailure: 'allow' })
      const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
      store.fault = fault
      let hold: QuotaHold | undefined
      const outcome = await tokens.hold(100, { ttlMs: 60_000, idempotencyKey: 'job' })
      if (outcome.outcome === 'unavailable') hold = outcome.hold
      store.fault = 'down'
      expect(await hold?.commit(40)).toMatchObject({ outcome: 'unavailable', queued: true })
      store.fault = 'none'
      await platform.clock.advance(5_000)
      expect(await tokens.remaining()).toMatchObject({ remaining: 9_960, levels: [{ held: 0 }] })
      await quotas.close()
    }
  })

  it('is told the end of a hold later, whatever the posture', async () => {
    const { quotas, store, platform, told } = stage({ onStoreFailure: 'refuse' })
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const done = await tokens.withHold(100, { ttlMs: 60_000 }, async (hold) => {
      store.fault = 'down'
      await hold.commit(25)
    })
    expect(done).toMatchObject({ outcome: 'done', end: { outcome: 'unavailable', queued: true } })
    store.fault = 'none'
    await platform.clock.advance(2_000)
    expect(told('quota.booked')).toMatchObject([{ amount: 25 }])
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_975 })
  })

  it('leaves a hold to expire when its release is lost, and throws the error of the work', async () => {
    const { quotas, store } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    const broken = tokens.withHold(100, { ttlMs: 60_000 }, () => {
      store.fault = 'bug'
      throw new Error('broken')
    })
    await expect(broken).rejects.toThrow('broken')
  })

  it('finds out with the same key what a lost answer was', async () => {
    const { quotas, store } = stage()
    const tokens = quotas.bind({ tenant: 'org', limit: 'llm-tokens' })
    store.fault = 'lost'
    expect(await tokens.consume(7, { idempotencyKey: 'k' })).toMatchObject({ outcome: 'unavailable' })
    store.fault = 'none'
    expect(await tokens.consume(7, { idempotencyKey: 'k' })).toMatchObject({ replayed: true, remaining: 9_993 })
  })
})
