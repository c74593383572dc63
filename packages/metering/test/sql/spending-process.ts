/** Spends from one SQLite file, as one of several processes. Arguments: file, name. Prints what it was sold. */
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createQuotas } from '@enablement/metering'
import { sqlQuotaStore } from '@enablement/metering/sql'

const [path = '', name = ''] = process.argv.slice(2)
const db = sqliteDatabase({ path, durability: 'process' })
const quotas = createQuotas({
  store: sqlQuotaStore(db),
  limits: [{ name: 'units', quantity: 1_000, period: 'lifetime' }],
  onStoreFailure: 'refuse'
})
const units = quotas.bind({ tenant: 'org', limit: 'units' })

let sold = 0
let replays = 0
/** Sixteen at a time, of one to five units, each sent twice; every tenth key is also used by the other processes. */
async function consumer(index: number): Promise<void> {
  for (let call = 0; call < 10; call++) {
    const shared = call === 5
    const amount = shared ? 2 : 1 + ((index + call) % 5)
    const idempotencyKey = shared ? `shared-${index}` : `${name}-${index}-${call}`
    for (const _ of [1, 2]) {
      const outcome = await units.consume(amount, { idempotencyKey })
      if (outcome.outcome === 'unavailable') throw outcome.error
      if (outcome.outcome === 'consumed' && outcome.replayed) replays += 1
      else if (outcome.outcome === 'consumed') sold += amount
    }
  }
}
await Promise.all(Array.from({ length: 16 }, (_, index) => consumer(index)))
await db.close()
console.log(JSON.stringify({ sold, replays }))
