import { writeSync } from 'node:fs'
import { createOutbox } from '@enablement/core/outbox'
import { startWorker } from '@enablement/core/schedule'
import { sqliteDatabase } from '@enablement/core/sqlite'

// Delivers, writing down what reaches the receiver, until it is killed.
const [path = ''] = process.argv.slice(2)
const db = sqliteDatabase({ path })
const outbox = createOutbox({
  db,
  name: 'mail',
  leaseMs: 200,
  async deliver({ id, key, payload }) {
    writeSync(1, `${id} ${key} ${String(payload)}\n`)
    await new Promise((resolve) => setTimeout(resolve, 2))
    return { outcome: 'delivered' }
  }
})
startWorker({ duties: outbox.duties, pollMs: 20 })
// Between its polls a worker keeps no process alive; this does.
setInterval(() => {}, 1_000)
