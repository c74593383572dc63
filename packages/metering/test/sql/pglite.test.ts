import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaStore } from '@enablement/metering/sql'
import { quotaStoreConformance } from '@enablement/metering/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { test } from '@fast-check/vitest'
import { afterAll, beforeAll, describe, inject, it } from 'vitest'
import { histories, playInOrder } from '../quota/reference-quota.ts'

const scale = inject('scale')

describe('the SQL quota store on PGlite', () => {
  let database: SqlDatabase
  let tenants = 0

  beforeAll(async () => {
    database = pgliteDatabase(await emptyPglite())
    await migrate(database, [meteringSchema])
  }, 60_000)
  afterAll(() => database.close())

  const create = async () => {
    const clock = virtualClock()
    tenants += 1
    const store = sqlQuotaStore(withStoreClock(database, clock))
    return { store, clock, tenant: `org-${tenants}`, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)

  test.prop([histories], { numRuns: Math.ceil(5 * scale) })(
    'answers as the reference does',
    async (history) => {
      const { store, clock, tenant } = await create()
      await playInOrder(store, clock, tenant, history)
    },
    600_000
  )
})
