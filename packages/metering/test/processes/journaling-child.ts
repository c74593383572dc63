import { writeSync } from 'node:fs'
import process from 'node:process'
import { endWithParent } from '@enablement/build/end-with-parent'
import { systemClock, systemPlatform } from '@enablement/core'
import { openJournal } from '@enablement/core/journal'
import { startWorker } from '@enablement/core/schedule'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom } from '@enablement/core/testing'
import { createMeter } from '@enablement/metering'
import { sqlUsageStore } from '@enablement/metering/sql'
import { shuffled } from './contest.ts'
import { isSentBy, type JournalingChildCall, usedOnce } from './journaling.ts'
import { fileWitness } from './witness.ts'

/** A store gives up after five seconds of a lock that it cannot have: a twentieth of a second here. */
const HASTE = 100
/** Events that are recorded at the same time. */
const CONCURRENCY = 32

// Records all events, into its journal while the ledger is locked, and settles what that holds, until it is killed.
const { file, folder, log, name, events, seed } = JSON.parse(process.argv[2] ?? '') as JournalingChildCall
const clock = { ...systemClock, monotonic: () => systemClock.monotonic() * HASTE }
const journal = await openJournal({ folder })
const meter = createMeter({
  store: sqlUsageStore(sqliteDatabase({ path: file, durability: 'process', platform: { ...systemPlatform, clock } })),
  journal,
  onStoreFailure: 'journal'
})
const worker = startWorker({ duties: meter.duties, pollMs: 20 })
endWithParent(async () => {
  await worker.close()
  await meter.close()
  await journal.close()
})
const witness = fileWitness(log)
const done = new Set(witness.lines().flatMap(([by, id]) => (by === name ? [Number(id)] : [])))
const left = Array.from({ length: events }, (_, id) => id).filter((id) => isSentBy(name, id) && !done.has(id))
const queue = shuffled(left, seededRandom(seed)).values()
await Promise.all(
  Array.from({ length: CONCURRENCY }, async () => {
    for (const id of queue) witness.tell(name, id, (await meter.record(usedOnce(id))).outcome)
  })
)
writeSync(1, 'finished\n')
