/**
 * Records events whose ledger fails every other time, into a journal on the disk, and says what it was told of each:
 * `node journaling-process.ts <ledger> <journal> <first id>`. Goes on until it is killed.
 */
import { CoreError } from '@enablement/core'
import { openJournal } from '@enablement/core/journal'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createMeter, type UsageStore } from '@enablement/metering'
import { sqlUsageStore } from '@enablement/metering/sql'

const [, , file, folder, first] = process.argv
const ledger = sqlUsageStore(sqliteDatabase({ path: file as string }))
let calls = 0
const store: UsageStore = {
  ...ledger,
  async record(entries, options) {
    calls += 1
    if (calls % 4 === 1) throw new CoreError('STORE_UNAVAILABLE', 'no', { store: 'test', operation: 'write' })
    const verdicts = await ledger.record(entries, options)
    if (calls % 4 === 2) throw new CoreError('COMMIT_UNKNOWN', 'the reply was lost', { store: 'test' })
    return verdicts
  }
}
const journal = await openJournal({ folder: folder as string })
const meter = createMeter({ store, journal, onStoreFailure: 'journal' })

for (let id = Number(first); ; id++) {
  const event = { tenant: 'org', subscription: 'sub', metric: 'tokens', quantity: 1, at: Date.UTC(2026, 0, 15) }
  const { outcome } = await meter.record({ ...event, transactionId: `t${id}` })
  process.stdout.write(`${id} ${outcome}\n`)
  if (id % 10 === 9) {
    await meter.duties[0]?.run({ signal: new AbortController().signal }).catch(() => undefined)
  }
}
