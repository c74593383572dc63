import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { virtualClock, withStoreClock } from '@enablement/core/testing'
import { meteringSchema, sqlQuotaLedger } from '@enablement/metering/sql'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, inject } from 'vitest'
import { examineQuotaLedger } from './quota-ledger-exam.ts'

// A schema of this run's own, so that a server that lives longer is not littered.
const schema = `metering_quota_ledger_${process.pid}_${process.hrtime.bigint()}`
const pool = new Pool({ connectionString: inject('postgresUrl'), max: 8, options: `-c search_path=${schema}` })
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

describe('the ledger of quotas on Postgres', () => {
  let tenants = 0
  examineQuotaLedger(async () => {
    const clock = virtualClock()
    clock.jumpWallTo(Date.UTC(2040, 0, 1))
    tenants += 1
    return { ledger: sqlQuotaLedger(withStoreClock(database, clock)), tenant: `org-${tenants}`, clock }
  })
})
