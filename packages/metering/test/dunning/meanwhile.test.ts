import { days, hours } from '@enablement/core'
import { migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { createDunning, createQuotas, type Limit, restrictLimit } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { actions, FAILED_AT, FAILURE, makeWorld, SUBSCRIPTION, schemas, stage, start } from './stage.ts'

const EUR = { ...SUBSCRIPTION, currency: 'EUR' }

describe('what happens while an attempt is under way', () => {
  it('says so when the attempt collects what was paid otherwise, and recovers once', async () => {
    await using on = await stage({ answers: ['paid'] })
    await on.dunning.failed(FAILURE)
    on.world.onRetry = async () => {
      await on.dunning.succeeded(EUR)
    }
    await on.workAt(FAILED_AT + days(1))
    expect(on.events).toContain('dunning.paid-twice')
    expect(on.events.filter((type) => type === 'dunning.recovered')).toHaveLength(1)
    expect((await actions(on.db)).filter((action) => action === 'dunning.recovered')).toHaveLength(1)
  })

  it('recovers once when the attempt is declined after all', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    on.world.onRetry = async () => {
      await on.dunning.succeeded(EUR)
    }
    await on.workAt(FAILED_AT + days(1))
    expect(on.events).not.toContain('dunning.paid-twice')
    expect((await actions(on.db)).filter((action) => action === 'dunning.recovered')).toHaveLength(1)
    expect(await on.dunning.cases(SUBSCRIPTION)).toEqual([])
  })

  it('does not ask again for what was paid after the answer was lost', async () => {
    await using on = await stage({ answers: ['paid'] })
    await on.dunning.failed(FAILURE)
    on.world.fails.add('payments')
    await on.workAt(FAILED_AT + days(1))
    on.world.fails.clear()
    await on.dunning.succeeded(EUR)
    await on.workAt(FAILED_AT + days(2))
    expect(on.world.told.filter((one) => one.includes('attempt'))).toEqual([])
  })

  it('takes an answer that is none for no answer', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    const dunning = createDunning({
      db: on.db,
      platform: on.platform,
      notifier: on.world.notifier,
      restriction: on.world.restriction,
      payments: { retry: async () => ({ outcome: 'success' }) as never }
    })
    on.platform.clock.jumpWallTo(FAILED_AT + days(1))
    for (const duty of dunning.duties) await duty.run({ signal: new AbortController().signal })
    expect(await on.dunning.cases(SUBSCRIPTION)).toMatchObject([{ attempts: 0, underway: [{ invoice: 'inv-1' }] }])
  })

  it('makes no further attempt when a timer fires again whose process died', async () => {
    for (let at = 0; ; at++) {
      const platform = testPlatform({ now: FAILED_AT })
      await using disk = sqliteDatabase({ path: ':memory:', platform })
      await migrate(disk, schemas)
      const world = makeWorld()
      const whole = start(withStoreClock(disk, platform.clock), world, platform)
      await whole.dunning.failed(FAILURE)
      platform.clock.jumpWallTo(FAILED_AT + days(1))
      const db = crashPoints(withStoreClock(disk, platform.clock), { at })
      let isOver = false
      void start(db, world, platform)
        .work()
        .catch(unlessCrashed)
        .finally(() => {
          isOver = true
        })
      while (!isOver && db.crashed === undefined) await new Promise((resolve) => setImmediate(resolve))
      await whole.workAt(FAILED_AT + days(1) + hours(1))
      const attempts = world.told.filter((one) => one.includes('attempt'))
      expect(attempts, JSON.stringify(db.crashed)).toEqual(['EUR 9900 attempt 1: declined'])
      if (db.crashed === undefined) break
    }
  })
})

describe('orders to a restriction', () => {
  it('grow over all cases of a subscription, also when the clock is set back', async () => {
    await using on = await stage()
    const orders: number[] = []
    const { restrict, restore } = on.world.restriction
    on.world.restriction.restrict = async (order) => {
      orders.push(order.order)
      return restrict(order)
    }
    on.world.restriction.restore = async (order) => {
      orders.push(order.order)
      return restore(order)
    }
    await on.dunning.failed(FAILURE)
    await on.workAt(FAILED_AT + days(8))
    await on.dunning.succeeded(EUR)
    await on.work()
    expect(on.world.restricted).toBe(false)
    // Years back: the next case is another one.
    const earlier = FAILED_AT - days(400)
    on.platform.clock.jumpWallTo(earlier)
    await on.dunning.failed({ ...FAILURE, idempotencyKey: 'failure-2' })
    await on.workAt(earlier + days(8))
    expect(on.world.restricted).toBe(true)
    await on.dunning.succeeded(EUR)
    await on.work()
    expect(on.world.restricted).toBe(false)
    expect(orders).toEqual([...orders].sort((a, b) => a - b))
    expect(new Set(orders).size).toBe(4)
  })

  it('puts a recovery on record once when it comes in while the restriction is made', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    on.world.onRestrict = async () => {
      await on.dunning.succeeded(EUR)
    }
    await on.workAt(FAILED_AT + days(8))
    await on.work()
    expect(on.world.restricted).toBe(false)
    expect((await actions(on.db)).filter((action) => action === 'dunning.recovered')).toHaveLength(1)
  })
})

describe('a failed payment', () => {
  it('does not open a case that has no timers when it is reported twice at the same time', async () => {
    await using on = await stage()
    const answers = await Promise.all(Array.from({ length: 8 }, () => on.dunning.failed(FAILURE)))
    expect(answers.filter(({ outcome }) => outcome === 'opened')).toHaveLength(1)
    expect(new Set(answers.map(({ caseId }) => caseId)).size).toBe(1)
  })

  it('is refused in a case that has a thousand invoices, and says so', async () => {
    await using on = await stage()
    for (let at = 0; at < 1_000; at++) {
      await on.dunning.failed({ ...FAILURE, invoice: `i${at}`, idempotencyKey: `f${at}` })
    }
    await expect(on.dunning.failed({ ...FAILURE, invoice: 'more', idempotencyKey: 'more' })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
    expect((await on.dunning.cases(SUBSCRIPTION))[0]?.unpaid).toHaveLength(1_000)
    // Nothing of it is kept: it may be reported again.
    expect(
      await on.db.run(() => rows("select case_id from metering_dunning_failures where idempotency_key = 'more'"))
    ).toEqual([])
  })

  it('can be reported through a method that was taken off its object', async () => {
    await using on = await stage()
    const { failed } = on.dunning
    expect(await failed(FAILURE)).toMatchObject({ outcome: 'opened' })
  })
})

describe('the quota of a subscription that has not paid', () => {
  it('is floor(10 %) of the plan, never compounding, and then exactly the plan with what was used', async () => {
    await using on = await stage()
    const plan: Limit = { name: 'calls', period: 'lifetime', quantity: 1_009 }
    // An enforcer recognises a limit by the object: made once for each ratio.
    const restricted = new Map<string, Limit>()
    const lookup = () => {
      const ratio = on.dunning.quotaRatio('org', 'sub')
      if (ratio === undefined) return plan
      const made = restricted.get(ratio) ?? restrictLimit(plan, ratio)
      restricted.set(ratio, made)
      return made
    }
    const quotas = createQuotas({
      store: memoryQuotaStore({ platform: on.platform }),
      limits: lookup,
      onStoreFailure: 'refuse',
      platform: on.platform
    })
    const quota = quotas.bind({ tenant: 'org', limit: 'calls' })
    const consume = (amount: number) => quota.consume(amount)
    expect(await consume(40)).toMatchObject({ outcome: 'consumed', remaining: 969 })
    await on.dunning.failed(FAILURE)
    expect(await consume(60)).toMatchObject({ outcome: 'consumed', remaining: 0 })
    await on.workAt(FAILED_AT + days(5))
    expect(await consume(1)).toMatchObject({ outcome: 'refused', remaining: 0 })
    await on.dunning.succeeded(EUR)
    expect(await consume(1)).toMatchObject({ outcome: 'consumed', remaining: 908 })
  })
})

describe('what is known of standings', () => {
  it('is read for a few subscriptions at a time, however many are asked for', async () => {
    await using on = await stage()
    let reads = 0
    const hanging: SqlDatabase = {
      ...on.db,
      run: () => {
        reads += 1
        return new Promise(() => {})
      }
    }
    const { dunning } = start(hanging, on.world, on.platform)
    for (let at = 0; at < 10_000; at++) expect(dunning.quotaRatio('org', `sub-${at}`)).toBeUndefined()
    expect(reads).toBe(64)
  })
})
