import { writeSync } from 'node:fs'
import process from 'node:process'
import { endWithParent } from '@enablement/build/end-with-parent'
import { createAuditLog } from '@enablement/core/audit'
import { startWorker } from '@enablement/core/schedule'
import { seededRandom } from '@enablement/core/testing'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { contest, oversightWith } from './contest.ts'
import { databaseAt } from './database-at.ts'
import type { DecidingChildCall } from './deciding-processes.ts'
import { fileWitness } from './witness.ts'

// Decides and executes its share, and does what falls due on the way, until it is killed.
const { address, log, contestant, contested, seed } = JSON.parse(process.argv[2] ?? '') as DecidingChildCall
const db = databaseAt(address)
const witness = fileWitness(log)
const oversight = oversightWith(sqlOversightStore(db, { audit: createAuditLog({ db }) }), witness)
const worker = startWorker({ duties: oversight.duties, pollMs: 50 })
endWithParent(() => worker.close())
await contest(oversight, contestant, { contested, random: seededRandom(seed), witness })
writeSync(1, 'finished\n')
