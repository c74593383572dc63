import { writeSync } from 'node:fs'
import { createLock, lockSchema, sqlLockStore } from '@enablement/core/lock'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'

// Takes a lock, writes down its fence, and holds it, extending, until it is killed.
const [path = ''] = process.argv.slice(2)
const db = sqliteDatabase({ path })
await migrate(db, [lockSchema])
const lock = createLock({ store: sqlLockStore({ db }), ttlMs: 400 })
await lock.withLock('job', async ({ fence, signal }) => {
  writeSync(1, `${fence}\n`)
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve)
    // Timers of a lock keep no process alive; this one does.
    setInterval(() => writeSync(1, signal.aborted ? 'lost\n' : 'held\n'), 100)
  })
})
