import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import { type OwnSchema, ownSchema } from '@enablement/services/own-schema'
import { afterAll, describe, inject } from 'vitest'
import { storeContract } from './store-contract.ts'

describe('SQL stores on Postgres', () => {
  const owns: OwnSchema[] = []
  afterAll(async () => {
    for (const own of owns) await own.drop()
  })

  storeContract(async () => {
    // A schema of its own for each case: other test files use the same server.
    const own = ownSchema(inject('postgresUrl'))
    owns.push(own)
    await own.create()
    const db = postgresDatabase(own.pool)
    await migrate(db, [auditSchema, runtimeSchema])
    const audit = createAuditLog({ db })
    return {
      checkpoints: sqlCheckpointStore(db),
      incidents: sqlIncidentStore(db, { audit }),
      evidenceCount: async () => (await audit.read('acme')).length
    }
  })
})
