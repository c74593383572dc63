import type { HoldOutcome, Limit, QuotaHold } from '@enablement/metering'
import { describe, expect, it } from 'vitest'
import { HOUR_MS, settled, stage } from './stage.ts'

const held = (outcome: HoldOutcome): QuotaHold => {
  if (outcome.outcome !== 'held') throw new Error(outcome.outcome)
  return outcome.hold
}

describe('a hold', () => {
  const org = () => {
    const all = stage()
    return { ...all, tokens: all.quotas.bind({ tenant: 'org', limit: 'llm-tokens' }) }
  }

  it('keeps the most that the work may use, and gives the rest back at its end (B25)', async () => {
    const { tokens, told } = org()
    const hold = held(await tokens.hold(1_000, { ttlMs: 60_000 }))
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_000, levels: [{ used: 1_000, held: 1_000 }] })
    expect(await hold.commit(743)).toEqual({
      outcome: 'settled',
      actual: 743,
      charged: 743,
      overrun: 0,
      expired: false,
      replayed: false
    })
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_257, levels: [{ used: 743, held: 0 }] })
    expect(told('quota.hold-settled')).toMatchObject([{ key: hold.key, actual: 743, overrun: 0 }])
  })

  it('that used more takes the rest as far as it goes, and says what is beyond (pitfall 4.4.4)', async () => {
    const { tokens } = org()
    const hold = held(await tokens.hold(6_000, { ttlMs: 60_000 }))
    await tokens.consume(3_900)
    expect(await hold.commit(6_500)).toMatchObject({ actual: 6_500, charged: 6_100, overrun: 400 })
    expect(await tokens.remaining()).toMatchObject({ remaining: 0 })
  })

  it('ends once: the first amount stands', async () => {
    const { tokens } = org()
    const hold = held(await tokens.hold(10, { ttlMs: 60_000 }))
    await hold.commit(3)
    expect(await hold.commit(3)).toMatchObject({ outcome: 'settled', replayed: true })
    expect(await hold.commit(4)).toEqual({ outcome: 'conflict', requested: 4, firstActual: 3 })
    expect(await hold.release()).toMatchObject({ outcome: 'conflict', firstActual: 3 })
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_997 })
  })

  it('that is committed by a limit that was lowered meanwhile takes no more than that has', async () => {
    let plan: Limit = { name: 'plan', quantity: 1_000, period: 'lifetime' }
    const { quotas } = stage({ limits: () => plan })
    const tokens = quotas.bind({ tenant: 'org', limit: 'plan' })
    const hold = held(await tokens.hold(10, { ttlMs: 60_000 }))
    plan = { ...plan, quantity: 50 }
    expect(await hold.commit(100)).toMatchObject({ charged: 50, overrun: 50 })
  })

  it('is settled by what it took from when its limit is gone, or cannot be kept', async () => {
    let plan: Limit | undefined = { name: 'plan', quantity: 1_000, period: 'lifetime' }
    const { quotas } = stage({ limits: () => plan })
    const tokens = quotas.bind({ tenant: 'org', limit: 'plan' })
    const [first, second] = [await tokens.hold(10, { ttlMs: 60_000 }), await tokens.hold(10, { ttlMs: 60_000 })].map(
      held
    )
    plan = undefined
    expect(await first?.commit(12)).toMatchObject({ charged: 12, overrun: 0 })
    plan = { name: 'plan', quantity: 5, period: 'lifetime', eachChild: { quantity: 6 } }
    expect(await second?.commit(3)).toMatchObject({ charged: 3, overrun: 0 })
  })

  it('is found again by its key after a restart, and is one hold', async () => {
    const { tokens, quotas } = org()
    await tokens.hold(100, { ttlMs: 60_000, idempotencyKey: 'job-1' })
    const again = await quotas
      .bind({ tenant: 'org', limit: 'llm-tokens' })
      .hold(100, { ttlMs: 60_000, idempotencyKey: 'job-1' })
    expect(again).toMatchObject({ outcome: 'held', replayed: true })
    await held(again).commit(5)
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_995 })
    expect(await tokens.hold(100, { ttlMs: 60_000, idempotencyKey: 'job-1' })).toMatchObject({
      outcome: 'settled',
      actual: 5
    })
  })

  it('is another one for another amount', async () => {
    const { tokens } = org()
    await tokens.hold(100, { ttlMs: 60_000, idempotencyKey: 'job-1' })
    expect(await tokens.hold(7, { ttlMs: 60_000, idempotencyKey: 'job-1' })).toEqual({
      outcome: 'conflict',
      requested: 7,
      firstAmount: 100
    })
  })

  it('returns its units when its time is over, and books a late commit all the same', async () => {
    const { tokens, platform } = org()
    const hold = held(await tokens.hold(10_000, { ttlMs: 1_000 }))
    expect(await tokens.consume(1)).toMatchObject({ outcome: 'refused', remaining: 0 })
    await platform.clock.advance(1_001)
    expect(await tokens.consume(9_000)).toMatchObject({ outcome: 'consumed', remaining: 1_000 })
    expect(await hold.commit(1_200)).toMatchObject({ charged: 1_000, overrun: 200, expired: true })
  })

  it('may be given more time and units while it lasts', async () => {
    const { tokens, platform } = org()
    const hold = held(await tokens.hold(100, { ttlMs: 1_000 }))
    const expiresAt = platform.clock.now() + 5_000
    expect(await hold.extend({ ttlMs: 5_000, amount: 250 })).toEqual({ outcome: 'extended', amount: 250, expiresAt })
    expect([hold.amount, hold.expiresAt]).toEqual([250, expiresAt])
    await platform.clock.advance(4_000)
    expect(await tokens.consume(9_751)).toMatchObject({ outcome: 'refused', remaining: 9_750 })
    expect(await hold.extend({ ttlMs: 5_000 })).toMatchObject({ outcome: 'extended', amount: 250 })
    expect(await hold.extend({ ttlMs: 1_000, amount: 10_001 })).toMatchObject({
      outcome: 'refused',
      level: { limit: 'llm-tokens', path: [] },
      requested: 9_751,
      remaining: 9_750
    })
    await hold.commit(1)
    expect(await hold.extend({ ttlMs: 1_000 })).toMatchObject({ outcome: 'settled', actual: 1 })
  })

  it.each([-1, 1.5, Number.NaN, 9e15 + 1])('is not ended with %o', async (actual) => {
    const { tokens } = org()
    const hold = held(await tokens.hold(10, { ttlMs: 1_000 }))
    await expect(hold.commit(actual)).rejects.toMatchObject({ code: 'INVALID_AMOUNT' })
    expect(await hold.release()).toMatchObject({ actual: 0, replayed: false })
  })

  it.each([[undefined], [{}], [{ ttlMs: 0 }], [{ ttlMs: 32 * 24 * HOUR_MS }], [{ ttlMs: '1' }]])(
    'is not made with %o',
    async (options) => {
      const { tokens, store } = org()
      await expect(tokens.hold(1, options as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
      expect(store.calls).toEqual([])
    }
  )
})

describe('work around a hold', () => {
  const org = () => {
    const all = stage()
    return { ...all, tokens: all.quotas.bind({ tenant: 'org', limit: 'llm-tokens' }) }
  }

  it('commits what it used, and says so', async () => {
    const { tokens } = org()
    const done = await tokens.withHold(100, { ttlMs: 1_000 }, async (hold) => {
      await hold.commit(40)
      return 'answer'
    })
    expect(done).toMatchObject({ outcome: 'done', value: 'answer', end: { outcome: 'settled', actual: 40 } })
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_960 })
  })

  it('releases when it commits nothing, and when it throws', async () => {
    const { tokens } = org()
    expect(await tokens.withHold(100, { ttlMs: 1_000 }, () => 1)).toMatchObject({ value: 1, end: { actual: 0 } })
    const broken = tokens.withHold(100, { ttlMs: 1_000 }, () => {
      throw new Error('broken')
    })
    await expect(broken).rejects.toThrow('broken')
    expect(await tokens.remaining()).toMatchObject({ remaining: 10_000, levels: [{ held: 0 }] })
  })

  it('keeps what it committed before it threw', async () => {
    const { tokens } = org()
    const broken = tokens.withHold(100, { ttlMs: 1_000 }, async (hold) => {
      await hold.commit(30)
      throw new Error('after')
    })
    await expect(broken).rejects.toThrow('after')
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_970 })
  })

  it('is settled by its first commit, also when it did not wait for that', async () => {
    const { tokens, store } = org()
    const { settle } = store
    let calls = 0
    Object.assign(store, {
      // The first question is the slowest.
      async settle(...args: Parameters<typeof settle>) {
        calls += 1
        if (calls === 1) await settled()
        return settle(...args)
      }
    })
    const done = await tokens.withHold(100, { ttlMs: 1_000 }, (hold) => void hold.commit(40))
    expect(done).toMatchObject({ outcome: 'done', end: { outcome: 'settled', actual: 40, replayed: false } })
    calls = 0
    const broken = tokens.withHold(100, { ttlMs: 1_000 }, (hold) => {
      void hold.commit(2)
      throw new Error('after')
    })
    await expect(broken).rejects.toThrow('after')
    expect(await tokens.remaining()).toMatchObject({ remaining: 9_958 })
  })

  it('does not run without a hold, nor a second time', async () => {
    const { tokens } = org()
    let runs = 0
    const work = async (hold: QuotaHold) => {
      runs += 1
      await hold.commit(1)
    }
    expect(await tokens.withHold(10_001, { ttlMs: 1_000 }, work)).toMatchObject({ outcome: 'refused' })
    await tokens.withHold(10, { ttlMs: 1_000, idempotencyKey: 'k' }, work)
    expect(await tokens.withHold(10, { ttlMs: 1_000, idempotencyKey: 'k' }, work)).toMatchObject({
      outcome: 'settled',
      actual: 1,
      replayed: true
    })
    expect(runs).toBe(1)
  })
})
