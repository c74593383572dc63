import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { firstRow, integerOf, migrate, rows, type SqlDatabase, type SqlRow } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, unlessCrashed, virtualClock, withStoreClock } from '@enablement/core/testing'
import { createCredits, type Lot, type Wallet } from '@enablement/metering'
import { meteringSchema, sqlCreditStore } from '@enablement/metering/sql'
import { describe, expect, inject, it } from 'vitest'
import { derived } from './reference-wallet.ts'

const scale = inject('scale')
const stride = Math.ceil(1 / scale)
const START_AT = Date.UTC(2040, 7, 10)
const NAME = { tenant: 'org', account: 'acc', unit: 'credits' }

async function disk() {
  const clock = virtualClock()
  clock.jumpWallTo(START_AT)
  const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
  await migrate(db, [auditSchema, meteringSchema])
  return { db, clock }
}

const walletOn = (db: SqlDatabase): Wallet =>
  createCredits({
    store: sqlCreditStore(db, { audit: createAuditLog({ db }) }),
    units: [{ name: 'credits', scale: 0 }],
    overdraft: 'unlimited',
    onOverrun: 'owe',
    expiredReversal: 'breakage'
  }).wallet(NAME)

describe('a process that dies over a wallet', () => {
  async function scenario(db: SqlDatabase, clock: ReturnType<typeof virtualClock>): Promise<void> {
    const wallet = walletOn(db)
    clock.jumpWallTo(START_AT)
    await wallet.grant({ id: 'a', amount: '10', expiresAt: START_AT + 50 })
    await wallet.grant({ id: 'b', amount: '10', payment: 'pending' })
    await wallet.activate('b')
    await wallet.charge('3', { idempotencyKey: 'charge' })
    await wallet.hold('12', { idempotencyKey: 'hold', ttlMs: 100 })
    clock.jumpWallTo(START_AT + 60)
    await wallet.commit('hold', '6')
    await wallet.charge('12', { idempotencyKey: 'over' })
    await wallet.grant({ id: 'c', amount: '5' })
    await wallet.reverse('over', { amount: '4', idempotencyKey: 'back' })
    await wallet.void('c', { idempotencyKey: 'void' })
  }

  it('leaves a wallet that adds up at every point, and the one outcome after a retry, with its evidence', async () => {
    let whole: unknown
    let points = 0
    for (let at = 0; ; at += stride) {
      const { db: store, clock } = await disk()
      await using _ = store
      const db = crashPoints(store, { at })
      await scenario(db, clock).catch(unlessCrashed)
      await derived(walletOn(store))
      await scenario(store, clock)
      const sums = await derived(walletOn(store))
      const moves = (await walletOn(store).entries({ limit: 1_000 })).map(({ kind, amount, grant }) => [
        kind,
        amount,
        grant
      ])
      whole ??= { sums, moves }
      expect({ sums, moves }).toEqual(whole)
      const audit = createAuditLog({ db: store })
      expect(await audit.verify('org')).toMatchObject({ outcome: 'intact' })
      const actions = (await audit.read('org')).map(({ action }) => action).sort()
      expect(actions).toEqual([
        'credits.activated',
        'credits.charged',
        'credits.charged',
        'credits.committed',
        'credits.expired',
        'credits.granted',
        'credits.granted',
        'credits.granted',
        'credits.held',
        'credits.reversed',
        'credits.voided'
      ])
      points = db.passed
      if (db.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(40)
  }, 60_000)
})

describe('a wallet of very many grants', () => {
  const GRANTS = Math.round(100_000 * Math.min(scale, 1))

  it('reads a handful of them for a charge, and charges the one that expires first (B5)', async () => {
    const { db, clock } = await disk()
    await using _ = db
    const wallet = walletOn(db)
    await wallet.grant({ id: 'first', amount: '100', expiresAt: START_AT + 86_400_000 })
    const store = sqlCreditStore(db)
    for (let from = 1; from < GRANTS; from += 10_000) {
      await store.transact(
        NAME,
        function* (opened) {
          const record = opened.wallet
          const [sample] = yield* opened.lots([0])
          if (record === undefined || sample === undefined) throw new Error('the wallet is not there')
          const lots = Array.from({ length: Math.min(10_000, GRANTS - from) }, (_, index): Lot => {
            const lot = from + index
            const expiresAt = START_AT + 2 * 86_400_000
            const burnKey = `${String(expiresAt).padStart(16, '0')}${String(lot).padStart(30, '0')}`
            return { ...sample, lot, grant: `g${lot}`, burnKey, expiresAt, dueAt: expiresAt, free: 100, amount: 100 }
          })
          const free = (record.lanes[0]?.free ?? 0) + 100 * lots.length
          const changed = { ...record, lanes: [{ metrics: [], free }], lots: record.lots + lots.length }
          const none = { entries: [], fundings: [], charges: [], calls: [], evidence: [], looksUpDue: false }
          yield* opened.write({ wallet: changed, lots, ...none })
        },
        {}
      )
    }
    let read = 0
    const counting: SqlDatabase = {
      ...db,
      run: (work, options) =>
        db.run(function* () {
          const unit = work()
          let step = unit.next()
          while (step.done !== true) {
            const result = yield step.value
            read += result.rows.length
            step = unit.next(result)
          }
          return step.value
        }, options)
    }
    const answer = await walletOn(counting).charge('99', { idempotencyKey: 'c' })
    expect(answer).toMatchObject({ outcome: 'charged', fundings: [{ grant: 'first', amount: '99' }] })
    expect(read).toBeLessThan(20)
    const left = await db.run(() =>
      firstRow('select count(*) as grants, min(free) as least from metering_credit_lots where free = 100')
    )
    expect(integerOf(left as SqlRow, 'grants')).toBe(GRANTS - 1)
    // No charge sorts: each reads in the order of an index.
    const plans = await db.run(() =>
      rows(`explain query plan select * from metering_credit_lots
        where wallet = 'w' and lane = 0 and burn_key > '' and state = 'active' and free > 0 order by burn_key limit 8`)
    )
    expect(plans.map((row) => row['detail']).join()).toMatch(
      /^SEARCH metering_credit_lots USING INDEX metering_credit_lots_burn/
    )
    clock.jumpWallTo(START_AT + 86_400_000)
    expect((await walletOn(db).balance()).free).toBe(`${100 * (GRANTS - 1)}`)
  }, 60_000)

  it('refuses a charge that thousands of remnants would pay, and changes nothing', async () => {
    const { db } = await disk()
    await using _ = db
    const wallet = walletOn(db)
    const store = sqlCreditStore(db)
    await wallet.grant({ id: 'g', amount: '1' })
    await store.transact(
      NAME,
      function* (opened) {
        const [sample] = yield* opened.lots([0])
        if (opened.wallet === undefined || sample === undefined) throw new Error('the wallet is not there')
        const lots = Array.from({ length: 5_000 }, (_, at): Lot => {
          return { ...sample, lot: at + 1, burnKey: `${sample.burnKey}${String(at).padStart(6, '0')}` }
        })
        const wide = { ...opened.wallet, lanes: [{ metrics: [], free: 5_001 }], lots: 5_001 }
        const none = { entries: [], fundings: [], charges: [], calls: [], evidence: [], looksUpDue: false }
        yield* opened.write({ wallet: wide, lots, ...none })
      },
      {}
    )
    await expect(wallet.charge('5001', { idempotencyKey: 'c' })).rejects.toMatchObject({ code: 'CREDITS_FRAGMENTED' })
    expect((await wallet.balance()).free).toBe('5001')
    expect((await wallet.charge('5000', { idempotencyKey: 'c' })).outcome).toBe('charged')
    expect((await wallet.reverse('c', { idempotencyKey: 'r' })).outcome).toBe('reversed')
    expect((await wallet.balance()).free).toBe('5001')
  })
})

describe('a wallet in which very much has fallen due', () => {
  it('books it in units of a bounded size, in the order in which it happened', async () => {
    const { db, clock } = await disk()
    await using _ = db
    const wallet = walletOn(db)
    await wallet.grant({ id: 'hourly', amount: '5', recurs: { everyMs: 3_600_000 } })
    clock.jumpWallTo(START_AT + 1_000 * 3_600_000)
    expect((await wallet.balance()).balance).toBe('5')
    const entries = await wallet.entries({ after: 1_999, limit: 10 })
    expect(entries.map(({ kind, at }) => [kind, at])).toEqual([
      ['expired', START_AT + 1_000 * 3_600_000],
      ['granted', START_AT + 1_000 * 3_600_000]
    ])
  })
})

describe('a unit', () => {
  it('keeps the scale that its wallet began with', async () => {
    const { db } = await disk()
    await using _ = db
    await walletOn(db).grant({ id: 'g', amount: '1' })
    const other = createCredits({
      store: sqlCreditStore(db),
      units: [{ name: 'credits', scale: 2 }],
      onOverrun: 'owe',
      expiredReversal: 'breakage'
    }).wallet(NAME)
    await expect(other.charge('0.01', { idempotencyKey: 'c' })).rejects.toMatchObject({
      code: 'UNIT_MISMATCH',
      detail: { unit: 'credits', scale: 2, storedScale: 0 }
    })
  })
})

describe('a grant of very many parts', () => {
  it('is voided whole, and never begins anew', async () => {
    const { db: store, clock } = await disk()
    await using _ = store
    const wallet = createCredits({
      store: sqlCreditStore(store),
      units: [{ name: 'credits', scale: 0 }],
      onOverrun: 'owe',
      expiredReversal: 'breakage'
    }).wallet(NAME)
    const HOUR_MS = 3_600_000
    const hours = 1_100
    // Of each hour one credit lives on for good.
    await wallet.grant({ id: 'g', amount: '2', recurs: { everyMs: HOUR_MS }, rollOver: { max: '1', forMs: 3e11 } })
    clock.jumpWallTo(START_AT + hours * HOUR_MS)
    expect(await wallet.void('g', { idempotencyKey: 'v' })).toMatchObject({ amount: String(hours + 2) })
    clock.jumpWallTo(START_AT + (hours + 2) * HOUR_MS)
    expect((await wallet.balance()).free).toBe('0')
  })
})
