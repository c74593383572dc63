import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, testPlatform, virtualClock, withStoreClock } from '@enablement/core/testing'
import { memoryCreditStore } from '@enablement/metering/memory'
import { meteringSchema, sqlCreditStore } from '@enablement/metering/sql'
import { creditStoreConformance } from '@enablement/metering/testing'
import { describe, it } from 'vitest'

describe('the memory credit store', () => {
  const create = async () => {
    const platform = testPlatform()
    const store = memoryCreditStore({ platform })
    return { store, clock: platform.clock, tenant: 'org', [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(creditStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL credit store on SQLite', () => {
  const create = async () => {
    const clock = virtualClock()
    const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [meteringSchema])
    return { store: sqlCreditStore(db), clock, tenant: 'org', [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(creditStoreConformance, { create, supports: {} })) it(name, run)
})
