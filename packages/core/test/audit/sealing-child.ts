import { writeSync } from 'node:fs'
import { sleep, systemPlatform } from '@enablement/core'
import { createAuditLog, createAuditSealer, ed25519Signer } from '@enablement/core/audit'
import { fileCheckpointSink } from '@enablement/core/audit-file'
import { startWorker } from '@enablement/core/schedule'
import { sqliteDatabase } from '@enablement/core/sqlite'

// Appends and seals until it is killed; writes down the id of each entry that was committed.
const [path = '', checkpoints = '', signingKey = '', name = ''] = process.argv.slice(2)
const db = sqliteDatabase({ path, durability: 'process' })
const log = createAuditLog({ db })
const signer = ed25519Signer(signingKey)
const sink = fileCheckpointSink({ path: checkpoints })
const sealer = createAuditSealer({ db, signer, sink, batchRows: 16 })
startWorker({ duties: [sealer.duty], pollMs: 5, observe: () => {} })
for (let number = 0; ; number++) {
  const tenant = `tenant-${number % 2}`
  const { id } = await log.record({ tenant, actor: `child:${name}`, action: 'test.ran', subject: `turn:${number}` })
  writeSync(1, `${tenant} ${id}\n`)
  // Leaves the sealer its turns.
  await sleep(systemPlatform.clock, 2)
}
