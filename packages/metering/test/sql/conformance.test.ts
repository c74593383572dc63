import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'
import { quotaStoreConformance, usageStoreConformance } from '@enablement/metering/testing'
import { describe, it } from 'vitest'

describe('the SQL quota store on SQLite', () => {
  const create = async () => {
    const clock = virtualClock()
    const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [meteringSchema])
    return { store: sqlQuotaStore(db), clock, tenant: 'org', [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL usage store on SQLite', () => {
  const create = async () => {
    const db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [meteringSchema])
    return { store: sqlUsageStore(db), tenant: 'org', [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})
