// A process with so many pending requests, or jobs, that says by how many MiB it has grown.
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'
import { startWorker } from '@enablement/core/schedule'
import { Cron } from 'croner'
import { openSqlite } from '../../databases.mjs'
import { countRate } from '../../measuring.mjs'
import { makeOversight } from '../make-oversight.mjs'

const [, , kind, text] = process.argv
const count = Number(text)

/** As many before the first look, so that the heap has the size that this work takes whatever the number that waits. */
const WARM = 10_000

/** Gives memory time to be given back. */
async function memory() {
  for (let turn = 0; turn < 5; turn++) {
    globalThis.gc()
    await setTimeout(200)
  }
  return process.memoryUsage()
}

async function openOurs() {
  const sqlite = openSqlite()
  let delivered = 0
  const made = await makeOversight(sqlite.db, {
    deliver: async () => {
      delivered += 1
      return { outcome: 'delivered' }
    }
  })
  const worker = startWorker({ duties: made.oversight.duties })
  let opened = 0
  return {
    async fill(more) {
      await countRate(64, more, made.open)
      opened += more
      worker.wake()
      while (delivered < opened) await setTimeout(50)
    },
    async close() {
      await worker.close()
      await sqlite.close()
    }
  }
}

function openTheirs() {
  const jobs = []
  const at = new Date(Date.now() + 3_600_000)
  return {
    fill(more) {
      for (let made = 0; made < more; made++) jobs.push(new Cron(at, () => {}))
    },
    close() {
      for (const job of jobs) job.stop()
    }
  }
}

const subject = kind === 'croner' ? openTheirs() : await openOurs()
// Theirs needs none: making a job does nothing that is not the job's.
if (kind !== 'croner') await subject.fill(WARM)
const before = await memory()
await subject.fill(count)
const after = await memory()
const mebibytes = (bytes) => Number((bytes / 2 ** 20).toFixed(1))
const grown = { rssMiB: mebibytes(after.rss - before.rss), heapMiB: mebibytes(after.heapUsed - before.heapUsed) }
await subject.close()
process.stdout.write(JSON.stringify(grown))
