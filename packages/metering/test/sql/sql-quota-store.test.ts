import { execute, firstRow, integerOf, migrate, type SqlDatabase, type SqlRow } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaStore } from '@enablement/metering/sql'
import { quotaStoreConformance } from '@enablement/metering/testing'
import { describe, expect, it } from 'vitest'

describe('the SQL quota store on SQLite', () => {
  const create = async () => {
    const clock = virtualClock()
    const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [meteringSchema])
    return { store: sqlQuotaStore(db), clock, tenant: 'org', [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)
})

const charges = [
  { limit: 'units', path: [], quantity: 1_000, rule: { kind: 'rolling', rollingMs: 60_000 }, reserved: [] }
] as const
const quota = { scope: 'quota', charges, keepMs: 1_000 }

async function setUp() {
  const clock = virtualClock()
  const disk = sqliteDatabase({ path: ':memory:' })
  const db = withStoreClock(disk, clock)
  await migrate(db, [meteringSchema])
  return { clock, db, store: sqlQuotaStore(db), [Symbol.asyncDispose]: () => db.close() }
}

async function count(db: SqlDatabase, table: string): Promise<number> {
  return integerOf((await db.run(() => firstRow(`select count(*) as n from ${table}`))) as SqlRow, 'n')
}

describe('the tables of quotas', () => {
  it('shrink by themselves', async () => {
    await using stage = await setUp()
    const { clock, db, store } = stage
    const use = async (day: number): Promise<void> => {
      clock.jumpWallTo(Date.UTC(2040, 0, day))
      const path = [`agent-${day}`]
      const drawn = [{ ...charges[0], path }]
      const keys = ['a', 'b', 'c'].map((key) => `${key}-${day}`)
      await store.consume('org', [{ ...quota, charges: drawn, amounts: [1, 1, 1], keys, idempotencyMs: 1_000 }])
      const key = `hold-${day}`
      await store.hold('org', {
        ...quota,
        key,
        charges: drawn,
        amount: 1,
        amountMin: 1,
        ttlMs: 1_000,
        onExpiry: 'spent'
      })
      await store.settle('org', { ...quota, key, charges: drawn, actual: 1 })
    }
    for (let day = 1; day < 30; day += 3) await use(day)
    expect(await count(db, 'metering_quota_spends')).toBe(3)
    expect(await count(db, 'metering_quota_holds')).toBe(1)
    expect(await count(db, 'metering_quota_counters')).toBe(1)
    expect(await count(db, 'metering_quota_tenants')).toBe(1)
  })

  it('keep what is held, and what never starts anew', async () => {
    await using stage = await setUp()
    const { clock, db, store } = stage
    const rules = [{ kind: 'lifetime' }, { kind: 'concurrent' }, { kind: 'bucket', refill: 1, perMs: 1 }] as const
    const kept = rules.map((rule) => ({ ...charges[0], limit: rule.kind, rule }))
    clock.jumpWallTo(Date.UTC(2040, 0, 1))
    const ttlMs = 100 * 86_400_000
    await store.hold('org', { ...quota, key: 'long', charges: kept, amount: 5, amountMin: 5, ttlMs, onExpiry: 'spent' })
    for (let day = 2; day < 30; day += 3) {
      clock.jumpWallTo(Date.UTC(2040, 0, day))
      await store.consume('org', [
        { ...quota, charges: [{ ...charges[0], path: [`${day}`] }], amounts: [1], idempotencyMs: 1 }
      ])
    }
    expect(await store.read('org', kept)).toMatchObject([{ used: 5 }, { used: 5 }, { used: 5 }])
    expect(await count(db, 'metering_quota_counters')).toBe(4)
  })

  it('do not grow with a hold that is extended for long', async () => {
    await using stage = await setUp()
    const { clock, db, store } = stage
    clock.jumpWallTo(Date.UTC(2040, 0, 1))
    const day = { ttlMs: 86_400_000, onExpiry: 'spent' } as const
    await store.hold('org', { ...quota, ...day, key: 'long', amount: 1, amountMin: 1 })
    for (let seconds = 5; seconds < 1_000; seconds += 5) {
      clock.jumpWallTo(Date.UTC(2040, 0, 1, 0, 0, seconds))
      await store.extend('org', { ...quota, key: 'long', amount: seconds, ttlMs: 1 })
    }
    const row = await db.run(() => firstRow('select json_array_length(parts) as parts from metering_quota_holds'))
    // One for each slice that still counts, and one for all the others.
    expect(integerOf(row as SqlRow, 'parts')).toBe(14)
  })
})

describe('a tenant of the SQL quota store', () => {
  it('may have a hundred thousand open holds, and not one more', async () => {
    await using stage = await setUp()
    const { clock, db, store } = stage
    clock.jumpWallTo(Date.UTC(2040, 0, 1))
    const request = { ...quota, amount: 1, amountMin: 1, ttlMs: 1_000, onExpiry: 'returned' } as const
    await store.hold('org', { ...request, key: 'one' })
    await db.run(() => execute('update metering_quota_tenants set open_holds = 99999'))
    await store.hold('org', { ...request, key: 'two' })
    await expect(store.hold('org', { ...request, key: 'three' })).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { limit: 100_000 }
    })
    expect(await store.read('org', charges)).toMatchObject([{ used: 2, held: 2 }])
    await store.settle('org', { ...quota, key: 'one', actual: 0 })
    expect(await store.hold('org', { ...request, key: 'three' })).toMatchObject({ outcome: 'held' })
  })

  it('has back all of many holds that expired together, two calls later', async () => {
    await using stage = await setUp()
    const { clock, store } = stage
    clock.jumpWallTo(Date.UTC(2040, 0, 1))
    const request = { ...quota, amount: 1, amountMin: 1, ttlMs: 1_000, onExpiry: 'returned' } as const
    await Promise.all(Array.from({ length: 300 }, (_, at) => store.hold('org', { ...request, key: `${at}` })))
    clock.jumpWallTo(Date.UTC(2040, 0, 1, 0, 0, 1))
    expect(await store.settle('org', { ...quota, key: '99', actual: 1 })).toMatchObject({ expired: true })
    expect(await store.read('org', charges)).toMatchObject([{ used: 1, held: 0 }])
  })

  it('is told of a row that is none', async () => {
    await using stage = await setUp()
    const { db, store } = stage
    await store.consume('org', [{ ...quota, amounts: [1], idempotencyMs: 1 }])
    await db.run(() => execute("update metering_quota_counters set kind = 'weekly'"))
    await expect(store.read('org', charges)).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  })
})
