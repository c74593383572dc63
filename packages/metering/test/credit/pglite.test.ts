import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlCreditStore } from '@enablement/metering/sql'
import { creditStoreConformance } from '@enablement/metering/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { beforeAll, describe, it } from 'vitest'

let database: SqlDatabase
let tenants = 0

beforeAll(async () => {
  database = pgliteDatabase(await emptyPglite())
  await migrate(database, [meteringSchema])
}, 60_000)

describe('the SQL credit store on PGlite', () => {
  const create = async () => {
    tenants += 1
    const clock = virtualClock()
    const store = sqlCreditStore(withStoreClock(database, clock))
    return { store, clock, tenant: `org-${tenants}`, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(creditStoreConformance, { create, supports: {} })) it(name, run)
})
