import { days, hours } from '@enablement/core'
import { migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { createDunning, DUNNING_POLICY, type DunningPolicy } from '@enablement/metering'
import { describe, expect, it } from 'vitest'
import { actions, FAILED_AT, FAILURE, makeWorld, SUBSCRIPTION, schemas, stage, start } from './stage.ts'

describe('dunning', () => {
  it('takes its steps on the first, third and seventh day, to the millisecond, each once', async () => {
    await using on = await stage()
    expect(await on.dunning.failed(FAILURE)).toMatchObject({ outcome: 'opened' })
    const day = (count: number): number => FAILED_AT + days(count)
    const timeline: [at: number, told: string[]][] = [
      [day(0), []],
      [day(1) - 1, []],
      [day(1), ['EUR 9900 attempt 1: declined', 'email']],
      [day(3) - 1, []],
      [day(3), ['EUR 9900 attempt 2: declined', 'in-app']],
      [day(5), ['EUR 9900 attempt 3: declined']],
      [day(7) - 1, []],
      [day(7), ['EUR 9900 attempt 4: declined', 'restrict']],
      [day(30), []]
    ]
    for (const [at, told] of timeline) {
      on.world.told.length = 0
      await on.workAt(at)
      await on.work()
      expect([...on.world.told].sort(), `${at - FAILED_AT}`).toEqual([...told].sort())
    }
    expect(on.world.restricted).toBe(true)
  })

  it('cuts the quota from the failure on, and gives it back with the payment', async () => {
    await using on = await stage()
    expect(on.dunning.quotaRatio('org', 'sub')).toBeUndefined()
    await on.dunning.failed(FAILURE)
    expect(on.dunning.quotaRatio('org', 'sub')).toBe('0.1')
    expect(await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })).toEqual({ outcome: 'recovered' })
    expect(on.dunning.quotaRatio('org', 'sub')).toBeUndefined()
    expect(await on.dunning.cases(SUBSCRIPTION)).toEqual([])
  })

  it('knows of a cut that another process made, at the second asking', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    const other = start(on.db, on.world, on.platform)
    expect(other.dunning.quotaRatio('org', 'sub')).toBeUndefined()
    await on.db.run(() => rows('select 1 as one'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(other.dunning.quotaRatio('org', 'sub')).toBe('0.1')
  })

  it.each([0, 1, 2, 4, 6])('stops when it is paid on day %i, and restricts nothing', async (day) => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    await on.workAt(FAILED_AT + days(day))
    await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR', invoice: 'inv-1' })
    on.world.told.length = 0
    await on.workAt(FAILED_AT + days(40))
    expect(on.world.told).toEqual([])
    expect(on.world.restricted).toBe(false)
  })

  it('restores once what it restricted, whenever it is paid', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    await on.workAt(FAILED_AT + days(8))
    expect(on.world.restricted).toBe(true)
    await on.workAt(FAILED_AT + days(20))
    expect(await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })).toEqual({ outcome: 'recovered' })
    await on.work()
    await on.work()
    expect(on.world.restricted).toBe(false)
    expect(on.world.told.filter((one) => one === 'restore')).toHaveLength(1)
    expect((await actions(on.db)).slice(-2)).toEqual(['dunning.recovered', 'dunning.restored'])
  })

  it('restores when the payment comes in while it restricts', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    on.world.onRestrict = async () => {
      await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })
    }
    await on.workAt(FAILED_AT + days(8))
    await on.work()
    expect(on.world.restricted).toBe(false)
    expect(on.events).not.toContain('dunning.restricted')
  })

  it('ends with an attempt that is paid', async () => {
    await using on = await stage({ answers: ['declined', 'paid'] })
    await on.dunning.failed(FAILURE)
    for (const day of [1, 3, 5, 7, 9]) await on.workAt(FAILED_AT + days(day))
    expect(on.world.told.sort()).toEqual([
      'EUR 9900 attempt 1: declined',
      'EUR 9900 attempt 2: paid',
      'email',
      // On the third day the notice and the attempt are due together.
      ...(on.world.told.includes('in-app') ? ['in-app'] : [])
    ])
    expect(on.dunning.quotaRatio('org', 'sub')).toBeUndefined()
  })

  it('makes the last attempt before it restricts, also when all of it is late', async () => {
    await using on = await stage({ answers: ['paid'] })
    await on.dunning.failed(FAILURE)
    await on.workAt(FAILED_AT + days(30))
    expect(on.world.told).toContain('EUR 9900 attempt 1: paid')
    expect(on.world.told).not.toContain('restrict')
    expect(on.world.restricted).toBe(false)
  })

  it('counts a failure once, also when it is reported again after it was paid', async () => {
    await using on = await stage()
    const { caseId } = await on.dunning.failed(FAILURE)
    expect(await on.dunning.failed(FAILURE)).toEqual({ outcome: 'known', caseId })
    await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })
    expect(await on.dunning.failed(FAILURE)).toEqual({ outcome: 'known', caseId })
    expect(await on.dunning.cases(SUBSCRIPTION)).toEqual([])
    expect(await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })).toEqual({ outcome: 'not-unpaid' })
    expect(await on.dunning.failed({ ...FAILURE, idempotencyKey: 'failure-2' })).toMatchObject({ outcome: 'opened' })
  })

  it('goes on until the last invoice is paid', async () => {
    await using on = await stage()
    const { caseId } = await on.dunning.failed(FAILURE)
    const second = { ...FAILURE, invoice: 'inv-2', minorUnits: 100n, idempotencyKey: 'failure-2' }
    expect(await on.dunning.failed(second)).toEqual({ outcome: 'added', caseId })
    const paid = { ...SUBSCRIPTION, currency: 'EUR' }
    expect(await on.dunning.succeeded({ ...paid, invoice: 'inv-1' })).toEqual({ outcome: 'reduced' })
    expect(await on.dunning.succeeded({ ...paid, invoice: 'inv-1' })).toEqual({ outcome: 'not-unpaid' })
    await on.workAt(FAILED_AT + days(1))
    expect(on.world.told).toContain('EUR 100 attempt 1: declined')
    expect(await on.dunning.succeeded({ ...paid, invoice: 'inv-2' })).toEqual({ outcome: 'recovered' })
  })

  it('keeps a service restricted that another currency still restricts', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    await on.dunning.failed({ ...FAILURE, currency: 'USD', idempotencyKey: 'failure-2' })
    await on.workAt(FAILED_AT + days(8))
    await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })
    await on.workAt(FAILED_AT + days(9))
    expect(on.world.restricted).toBe(true)
    expect(on.dunning.quotaRatio('org', 'sub')).toBe('0.1')
    await on.dunning.succeeded({ ...SUBSCRIPTION, currency: 'USD' })
    await on.workAt(FAILED_AT + days(10))
    expect(on.world.restricted).toBe(false)
  })

  // Lago's dunning campaign, F1 of the worked examples: two attempts at most, two days apart, thresholds per currency.
  it('makes attempts from a threshold on, per currency', async () => {
    const policy: DunningPolicy = {
      ...DUNNING_POLICY,
      retries: { firstAfterMs: days(2), everyMs: days(2), attemptsMax: 2 },
      notices: [],
      restrictAfterMs: days(300),
      thresholds: { EUR: 15_000n, USD: 10_000n }
    }
    await using on = await stage({ policy })
    const owed = (currency: string, minorUnits: bigint, idempotencyKey: string) =>
      on.dunning.failed({ ...FAILURE, currency, minorUnits, idempotencyKey, invoice: idempotencyKey })
    await owed('EUR', 14_900n, 'a')
    await owed('USD', 12_000n, 'b')
    const january = (day: number, hour: number): number => Date.UTC(2040, 0, day, hour)
    await on.workAt(january(3, 12))
    expect(on.world.told.splice(0)).toEqual(['USD 12000 attempt 1: declined'])
    await on.workAt(january(5, 1))
    expect(on.world.told.splice(0)).toEqual([])
    await owed('EUR', 1_000n, 'c')
    await on.workAt(january(6, 0))
    expect(on.world.told.splice(0).sort()).toEqual(['EUR 15900 attempt 1: declined', 'USD 12000 attempt 2: declined'])
    await on.workAt(january(20, 0))
    expect(on.world.told.filter((one) => one.startsWith('USD'))).toEqual([])
  })

  it('asks a port again that failed, and lets the other steps go on meanwhile', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    on.world.fails.add('email')
    await on.workAt(FAILED_AT + days(1))
    expect(on.world.told.splice(0)).toEqual(['EUR 9900 attempt 1: declined'])
    expect(on.events).toContain('dunning.step-failed')
    on.world.fails.clear()
    await on.workAt(FAILED_AT + days(1) + hours(1))
    expect(on.world.told).toEqual(['email'])
  })

  it('does not restrict before the bank could be asked', async () => {
    await using on = await stage({ answers: ['paid'] })
    await on.dunning.failed(FAILURE)
    on.world.fails.add('payments')
    await on.workAt(FAILED_AT + days(7))
    expect(on.world.restricted).toBe(false)
    on.world.fails.clear()
    await on.workAt(FAILED_AT + days(8))
    expect(on.world.restricted).toBe(false)
    expect(await on.dunning.cases(SUBSCRIPTION)).toEqual([])
  })

  it('holds a clock that was set back for no new day', async () => {
    await using on = await stage()
    await on.dunning.failed(FAILURE)
    await on.workAt(FAILED_AT + days(1))
    await on.workAt(FAILED_AT - days(3))
    await on.workAt(FAILED_AT + days(1))
    expect(on.world.told.filter((one) => one === 'email')).toHaveLength(1)
    expect(on.world.told.filter((one) => one.includes('attempt'))).toHaveLength(1)
  })

  it('takes every step once wherever its process dies', async () => {
    for (let at = 0; ; at++) {
      const platform = testPlatform({ now: FAILED_AT })
      await using disk = sqliteDatabase({ path: ':memory:', platform })
      await migrate(disk, schemas)
      const world = makeWorld()
      const crashing = crashPoints(withStoreClock(disk, platform.clock), { at })
      const story = async (db: SqlDatabase): Promise<void> => {
        const { dunning, workAt } = start(db, world, platform)
        await dunning.failed(FAILURE)
        await workAt(Math.max(platform.clock.now(), FAILED_AT + days(7)))
        await dunning.succeeded({ ...SUBSCRIPTION, currency: 'EUR' })
        await workAt(Math.max(platform.clock.now(), FAILED_AT + days(8)))
      }
      const told = story(crashing).catch(unlessCrashed)
      // What a dead process still waits for never comes.
      let ended = false
      void told.then(() => {
        ended = true
      })
      while (!ended && crashing.crashed === undefined) await new Promise((resolve) => setImmediate(resolve))
      const died = crashing.crashed !== undefined
      if (died) {
        // Longer than the lease that the dead one held.
        platform.clock.jumpWallTo(platform.clock.now() + hours(1))
        await story(withStoreClock(disk, platform.clock))
      }
      const where = JSON.stringify(crashing.crashed)
      expect(world.told.filter((one) => one === 'email').length, where).toBeLessThanOrEqual(1)
      expect(world.told.filter((one) => one === 'restrict').length, where).toBeLessThanOrEqual(1)
      expect(world.restricted, where).toBe(false)
      expect(await disk.run(() => rows("select case_id from metering_dunning where status = 'open'")), where).toEqual(
        []
      )
      const recorded = await actions(disk)
      expect(
        recorded.filter((one) => one === 'dunning.opened'),
        where
      ).toHaveLength(1)
      expect(
        recorded.filter((one) => one === 'dunning.recovered'),
        where
      ).toHaveLength(1)
      for (const one of ['dunning.restricted', 'dunning.restored', 'dunning.noticed']) {
        expect(recorded.filter((action) => action === one).length, `${where} ${one}`).toBeLessThanOrEqual(2)
      }
      if (!died) break
    }
  })

  it.each([
    [{ minorUnits: 0n }, 'minorUnits'],
    [{ minorUnits: -1n }, 'minorUnits'],
    [{ minorUnits: 9_000_000_000_000_001n }, 'minorUnits'],
    [{ minorUnits: 1.5 }, 'minorUnits'],
    [{ tenant: '' }, 'tenant'],
    [{ invoice: 'a\u0000b' }, 'invoice'],
    [{ currency: 'euro' }, 'currency'],
    [{ failedAt: Number.NaN }, 'failedAt'],
    [{ extra: 1 }, '']
  ])('refuses the failure with %o and keeps nothing', async (wrong, path) => {
    await using on = await stage()
    await expect(on.dunning.failed({ ...FAILURE, ...wrong } as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [expect.objectContaining(path === '' ? {} : { path })] }
    })
    expect(await on.dunning.cases(SUBSCRIPTION)).toEqual([])
  })

  it('knows the currencies of the world', async () => {
    await using on = await stage()
    await expect(on.dunning.failed({ ...FAILURE, currency: 'XXX' })).rejects.toMatchObject({ code: 'UNKNOWN_CURRENCY' })
  })

  it('refuses a policy that would warn of what has happened', () => {
    const notices = [{ name: 'late', afterMs: days(8), channel: 'email' }]
    const ports = makeWorld()
    const db = sqliteDatabase({ path: ':memory:' })
    const make = () =>
      createDunning({
        db,
        notifier: ports.notifier,
        payments: ports.payments,
        restriction: ports.restriction,
        policy: { ...DUNNING_POLICY, notices }
      })
    expect(make).toThrow(/notices/)
  })
})
