import { writeSync } from 'node:fs'
import process from 'node:process'
import { endWithParent } from '@enablement/build/end-with-parent'
import { createAuditLog } from '@enablement/core/audit'
import { type Duty, startWorker } from '@enablement/core/schedule'
import { firstRow, integerOf } from '@enablement/core/sql'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { databaseAt } from './database-at.ts'
import { chainsOn } from './waiting.ts'
import type { WaitingChildCall } from './waiting-processes.ts'
import { fileWitness } from './witness.ts'

// Takes chains on, telling when by the store's clock it looks for what is due, until it is killed.
const { address, log, waitMs } = JSON.parse(process.argv[2] ?? '') as WaitingChildCall
const db = databaseAt(address)
const witness = fileWitness(log)
const { oversight } = chainsOn(sqlOversightStore(db, { audit: createAuditLog({ db }) }), waitMs, witness)

const storeNow = async (): Promise<number> =>
  integerOf((await db.run(() => firstRow(`select ${db.dialect.now} as now`))) ?? {}, 'now')
const watched = (duty: Duty): Duty =>
  duty.name !== 'oversight.escalation'
    ? duty
    : {
        ...duty,
        async run(options) {
          const from = await storeNow()
          const run = await duty.run(options)
          witness.tell('looked', from, await storeNow())
          return run
        }
      }
const worker = startWorker({ duties: oversight.duties.map(watched), pollMs: 50 })
endWithParent(() => worker.close())
writeSync(1, 'up\n')
