import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaLedger } from '@enablement/metering/sql'
import { ownSchema } from '@enablement/services/own-schema'
import { afterAll, beforeAll, describe, inject } from 'vitest'
import { examineQuotaLedger } from './quota-ledger-exam.ts'

const own = ownSchema(inject('postgresUrl'))
const database = postgresDatabase(own.pool)

beforeAll(async () => {
  await own.create()
  await migrate(database, [meteringSchema])
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

describe('the ledger of quotas on Postgres', () => {
  let tenants = 0
  examineQuotaLedger(async () => {
    const clock = virtualClock()
    clock.jumpWallTo(Date.UTC(2040, 0, 1))
    tenants += 1
    return { ledger: sqlQuotaLedger(withStoreClock(database, clock)), tenant: `org-${tenants}`, clock }
  })
})
