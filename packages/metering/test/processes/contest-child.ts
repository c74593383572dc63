import { writeSync } from 'node:fs'
import process from 'node:process'
import { endWithParent } from '@enablement/build/end-with-parent'
import { startWorker } from '@enablement/core/schedule'
import { seededRandom } from '@enablement/core/testing'
import { billingClock, isLastMinute, roomsOn } from './contest.ts'
import type { ContestChildCall } from './contest-processes.ts'
import { doShare } from './contest-work.ts'
import { databaseAt } from './database-at.ts'
import { fatalPoints } from './fatal-points.ts'
import { fileWitness } from './witness.ts'

// Does its share, and what falls due on the way, until it is killed.
const { address, log, fate, startedAt, seed, ...work } = JSON.parse(process.argv[2] ?? '') as ContestChildCall
const clock = billingClock(startedAt)
const random = seededRandom(seed)
const rooms = roomsOn(fatalPoints(databaseAt(address), fate), clock, work.sizes, {
  delayMs: (entries) => (entries.some(isLastMinute) ? 200 + random.below(200) : 0)
})
const worker = startWorker({ duties: [...rooms.invoicing.duties, ...rooms.quotas.duties], pollMs: 50 })
endWithParent(async () => {
  await worker.close()
  await rooms.quotas.close()
})
await doShare(rooms, { ...work, clock, random, witness: fileWitness(log) })
writeSync(1, 'finished\n')
