import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { memoryCheckpointStore, memoryIncidentStore } from '@enablement/runtime/memory'
import { runtimeSchema, sqlCheckpointStore, sqlIncidentStore } from '@enablement/runtime/sql'
import { describe } from 'vitest'
import { storeContract } from './store-contract.ts'

describe('memory stores', () => {
  storeContract(async () => {
    const incidents = memoryIncidentStore()
    return { checkpoints: memoryCheckpointStore(), incidents, evidenceCount: async () => incidents.evidence.length }
  })
})

describe('SQL stores on SQLite', () => {
  storeContract(async () => {
    const db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [auditSchema, runtimeSchema])
    const audit = createAuditLog({ db })
    return {
      checkpoints: sqlCheckpointStore(db),
      incidents: sqlIncidentStore(db, { audit }),
      evidenceCount: async () => (await audit.read('acme')).length
    }
  })
})
