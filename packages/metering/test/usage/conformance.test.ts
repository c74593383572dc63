import { auditSchema } from '@enablement/core/audit'
import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests } from '@enablement/core/testing'
import { memoryUsageStore } from '@enablement/metering/memory'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { usageStoreConformance } from '@enablement/metering/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { afterAll, beforeAll, describe, it } from 'vitest'

describe('the memory usage store', () => {
  const create = async () => ({ store: memoryUsageStore(), tenant: 'org', [Symbol.asyncDispose]: async () => {} })
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL usage store on SQLite', () => {
  const create = async () => {
    const db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [meteringSchema])
    return { store: sqlUsageStore(db), tenant: 'org', [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL usage store on PGlite', () => {
  let database: ReturnType<typeof pgliteDatabase>
  let tenants = 0
  beforeAll(async () => {
    database = pgliteDatabase(await emptyPglite())
    await migrate(database, [auditSchema, meteringSchema])
  }, 60_000)
  afterAll(() => database.close())
  const create = async () => {
    tenants += 1
    return { store: sqlUsageStore(database), tenant: `org-${tenants}`, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})
