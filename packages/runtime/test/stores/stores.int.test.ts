import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import pg from 'pg'
import { afterAll, describe, inject } from 'vitest'
import { storeContract } from './store-contract.ts'

describe('SQL stores on Postgres', () => {
  const pools: pg.Pool[] = []
  const admin = new pg.Pool({ connectionString: inject('postgresUrl'), max: 1 })
  const schemas: string[] = []
  afterAll(async () => {
    for (const pool of pools) await pool.end()
    for (const schema of schemas) await admin.query(`drop schema ${schema} cascade`)
    await admin.end()
  })

  storeContract(async () => {
    // A schema of its own for each case: other test files use the same server.
    const schema = `runtime_stores_${process.pid}_${schemas.length}`
    await admin.query(`create schema ${schema}`)
    schemas.push(schema)
    const pool = new pg.Pool({ connectionString: inject('postgresUrl'), max: 8, options: `-c search_path=${schema}` })
    pools.push(pool)
    const db = postgresDatabase(pool)
    await migrate(db, [auditSchema, runtimeSchema])
    const audit = createAuditLog({ db })
    return {
      checkpoints: sqlCheckpointStore(db),
      incidents: sqlIncidentStore(db, { audit }),
      evidenceCount: async () => (await audit.read('acme')).length
    }
  })
})
