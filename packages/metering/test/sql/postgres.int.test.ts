import { postgresDatabase } from '@enablement/core/postgres'
import { migrate, rows } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'
import { quotaStoreConformance, usageStoreConformance } from '@enablement/metering/testing'
import { test } from '@fast-check/vitest'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { histories, playAtOnce } from '../quota/reference-quota.ts'

const scale = inject('scale')

let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${tenants}`
}

// A schema of this run's own, so that a server that lives longer is not littered.
const schema = `metering_${process.pid}_${process.hrtime.bigint()}`
const pool = new Pool({ connectionString: inject('postgresUrl'), max: 12, options: `-c search_path=${schema}` })
const database = postgresDatabase(pool)

beforeAll(async () => {
  await pool.query(`create schema ${schema}`)
  await migrate(database, [meteringSchema])
})
afterAll(async () => {
  await pool.query(`drop schema ${schema} cascade`)
  await database.close()
  if (!pool.ended) await pool.end()
})

describe('the SQL quota store on Postgres', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = sqlQuotaStore(withStoreClock(database, clock))
    return { store, clock, tenant: freshTenant(), [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)

  test.prop([histories], { numRuns: Math.ceil(10 * scale) })(
    'never oversells, in whichever order calls are served',
    async (history) => {
      const { store, clock, tenant } = await create()
      await playAtOnce(store, clock, tenant, history)
    },
    600_000
  )

  it('takes its windows from the clock of the database', async () => {
    const answer = await sqlQuotaStore(database).consume({
      tenant: freshTenant(),
      limit: 'units',
      quantity: 10,
      period: { everyMs: 3_600_000 },
      amount: 1,
      idempotencyKey: 'call',
      idempotencyMs: 60_000
    })
    const [row] = await database.run(() => rows(`select ${database.dialect.now} as now`))
    const resetsAt = (answer as typeof answer & { outcome: 'consumed' }).resetsAt ?? 0
    expect(resetsAt % 3_600_000).toBe(0)
    expect(Math.abs(resetsAt - Number(row?.['now']))).toBeLessThanOrEqual(3_660_000)
  })
})

describe('the SQL usage store on Postgres', () => {
  const create = async () => ({
    store: sqlUsageStore(database),
    tenant: freshTenant(),
    [Symbol.asyncDispose]: async () => {}
  })
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})
