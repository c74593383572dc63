import { openSync, writeSync } from 'node:fs'
import process from 'node:process'
import { admitFence } from '@enablement/core/lock'
import { postgresDatabase } from '@enablement/core/postgres'
import { createSchedule, every, startWorker } from '@enablement/core/schedule'
import { execute, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { Pool } from 'pg'

// Does what falls due until it is killed: effects that are written down in a file and, guarded by their fence, in a table.
const [kind = '', address = '', log = ''] = process.argv.slice(2)
const db: SqlDatabase =
  kind === 'postgres'
    ? postgresDatabase(new Pool({ connectionString: address, max: 3 }))
    : sqliteDatabase({ path: address, durability: 'process' })
const file = openSync(log, 'a')

const schedule = createSchedule({
  db,
  leaseMs: 600,
  concurrency: 4,
  tasks: {
    call: {
      attemptsMax: 1_000,
      backoff: { jitter: 'full', baseMs: 20, maxMs: 100 },
      run: async ({ id, fence, signal }) => {
        // One short line, appended by the operating system in one step.
        writeSync(file, `${id} ${fence} ${process.pid}\n`)
        await new Promise((resolve) => setTimeout(resolve, 10))
        signal.throwIfAborted()
        await db.run(function* () {
          const { outcome } = yield* admitFence(id, fence)
          // The id is what makes a repeated effect harmless; the fence is what keeps an earlier holder's out.
          if (outcome === 'admitted') {
            yield* execute('insert into effects(id, fence) values (?, ?) on conflict (id) do nothing', id, fence)
          }
        })
      }
    },
    tell: {
      attemptsMax: 1_000,
      *unit(dues) {
        for (const { id, fence } of dues) yield* execute('insert into told(id, fence) values (?, ?)', id, fence)
      }
    },
    tick: {
      recurrence: every(100),
      misfire: { policy: 'all', catchUpMs: 3_600_000 },
      attemptsMax: 1_000,
      *unit(dues) {
        for (const { id, fence } of dues) yield* execute('insert into told(id, fence) values (?, ?)', id, fence)
      }
    }
  }
})
const worker = startWorker({ duties: schedule.duties, pollMs: 50 })
process.on('SIGTERM', () => void worker.close().then(() => process.exit(0)))
writeSync(1, 'up\n')
// Waiting workers keep no process alive.
setInterval(() => {}, 1_000)
