import { postgresDatabase } from '@enablement/core/postgres'
import { firstRow, integerOf, migrate, type SqlRow } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaStore } from '@enablement/metering/sql'
import { quotaStoreConformance } from '@enablement/metering/testing'
import { ownSchema } from '@enablement/services/own-schema'
import { test } from '@fast-check/vitest'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { histories, playAtOnce } from '../quota/reference-quota.ts'
import { spendFromProcesses } from './spending.ts'

const scale = inject('scale')

const own = ownSchema(inject('postgresUrl'), { max: 12 })
const database = postgresDatabase(own.pool)

const deadlocks = async (): Promise<number> => {
  const { rows } = await own.pool.query('select deadlocks from pg_stat_database where datname = current_database()')
  return Number(rows[0]?.deadlocks)
}

beforeAll(async () => {
  await own.create()
  await migrate(database, [meteringSchema])
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

describe('the SQL quota store on Postgres', () => {
  let tenants = 0
  const create = async () => {
    const clock = virtualClock()
    tenants += 1
    const store = sqlQuotaStore(withStoreClock(database, clock))
    return { store, clock, tenant: `org-${tenants}`, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)

  test.prop([histories], { numRuns: Math.ceil(10 * scale) })(
    'answers calls that are made at once as the reference does in some order',
    async (history) => {
      const { store, clock, tenant } = await create()
      await playAtOnce(store, clock, tenant, history)
    },
    600_000
  )

  it('is never in a deadlock, though tenants delete what is over of each other', async () => {
    const before = await deadlocks()
    const clock = virtualClock()
    const store = sqlQuotaStore(withStoreClock(database, clock))
    const charges = [
      { limit: 'units', path: ['a'], quantity: 1_000_000, rule: { kind: 'every', everyMs: 1_000 }, reserved: [] },
      { limit: 'units', path: [], quantity: 1_000_000, rule: { kind: 'every', everyMs: 1_000 }, reserved: [] }
    ] as const
    const scope = 'quota'
    for (let round = 0; round < Math.ceil(10 * scale); round++) {
      clock.jumpWallTo(Date.UTC(2050, 0, 1 + 3 * round))
      await Promise.all(
        Array.from({ length: 48 }, async (_, at) => {
          const tenant = `crowd-${at % 6}`
          const path = [`agent-${(at * 5) % 7}`]
          const drawn = [{ ...charges[0], path }, charges[1]]
          const key = `${at % 9}`
          const call = { scope, key, charges: drawn, keepMs: 1 }
          await store.consume(tenant, [
            { scope, charges: drawn, amounts: [1, 1], keys: [key, undefined], idempotencyMs: 1 }
          ])
          await store.hold(tenant, { ...call, amount: 2, amountMin: 1, ttlMs: 1 + (at % 2), onExpiry: 'spent' })
          await Promise.all([store.settle(tenant, { ...call, actual: 1 }), store.endExpired(5)])
        })
      )
    }
    expect(await deadlocks()).toBe(before)
  })

  it('lets four processes have what there is and not a unit more, though two of them are killed', async () => {
    await spendFromProcesses(database, ['postgres', inject('postgresUrl'), own.name])
  }, 60_000)

  it('takes its windows from the clock of the database', async () => {
    const charges = [
      { limit: 'units', path: [], quantity: 10, rule: { kind: 'every', everyMs: 3_600_000 }, reserved: [] }
    ] as const
    const answer = await sqlQuotaStore(database).consume('by the clock', [
      { scope: 'quota', charges, amounts: [1], idempotencyMs: 1_000 }
    ])
    const resetsAt = answer[0]?.[0]?.outcome === 'consumed' ? (answer[0][0].resetsAt ?? 0) : 0
    const row = await database.run(() => firstRow(`select ${database.dialect.now} as now`))
    expect(resetsAt % 3_600_000).toBe(0)
    expect(Math.abs(resetsAt - integerOf(row as SqlRow, 'now'))).toBeLessThanOrEqual(3_660_000)
  })
})
