// How long after a tier's wait is over the next tier's invitation reaches its channel, in a process with a worker and an
// otherwise idle SQLite file: at most one poll of the worker if nothing wakes it. The 99th percentile.
import { setTimeout } from 'node:timers/promises'
import { startWorker } from '@enablement/core/schedule'
import { openSqlite } from '../databases.mjs'
import { some } from '../measuring.mjs'
import { makeOversight } from './make-oversight.mjs'

const REQUESTS = some(1_000)
const WAIT_MS = 1_000
/** Between two openings: so that each falls due by itself. */
const APART_MS = 7

export async function rows() {
  const sqlite = openSqlite()
  const lateness = []
  try {
    const made = await makeOversight(sqlite.db, {
      firstWaitMs: WAIT_MS,
      deliver: async ({ tier, openedAt }) => {
        // The store's clock is this machine's.
        if (tier === 1) lateness.push(Date.now() - openedAt - WAIT_MS)
        return { outcome: 'delivered' }
      }
    })
    const worker = startWorker({ duties: made.oversight.duties })
    for (let opened = 0; opened < REQUESTS; opened++) {
      await made.open()
      await setTimeout(APART_MS)
    }
    while (lateness.length < REQUESTS) await setTimeout(50)
    await worker.close()
  } finally {
    await sqlite.close()
  }
  const sorted = lateness.toSorted((one, other) => one - other)
  const p99 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))]
  return [{ id: 'wake-lateness', ours: p99, peer: 'none; the aim is 100', theirs: null, unit: 'ms, p99', ratio: null }]
}
