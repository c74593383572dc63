import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'
import { quotaStoreConformance, usageStoreConformance } from '@enablement/metering/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { beforeAll, describe, it } from 'vitest'

let database: SqlDatabase
let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${tenants}`
}

beforeAll(async () => {
  database = pgliteDatabase(await emptyPglite())
  await migrate(database, [meteringSchema])
}, 60_000)

describe('the SQL quota store on PGlite', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = sqlQuotaStore(withStoreClock(database, clock))
    return { store, clock, tenant: freshTenant(), [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL usage store on PGlite', () => {
  const create = async () => ({
    store: sqlUsageStore(database),
    tenant: freshTenant(),
    [Symbol.asyncDispose]: async () => {}
  })
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})
