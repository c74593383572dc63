// BullMQ as a peer, on a Redis that is told how durable to be: with `appendfsync always` as durable as ours.
import { performance } from 'node:perf_hooks'
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

/** What is best for it here. */
const CONCURRENCY = 100

/** The queue at `url`. `payload` is what each job carries. */
export async function openBullmq(url, { durable, payload }) {
  const { hostname: host, port } = new URL(url)
  const connection = { host, port: Number(port), maxRetriesPerRequest: null }
  const queue = new Queue('bench', { connection })
  const redis = new Redis(url)
  await redis.config('SET', 'save', '')
  await redis.config('SET', 'appendonly', durable ? 'yes' : 'no')
  await redis.config('SET', 'appendfsync', 'always')
  await redis.quit()
  let round = 0
  return {
    /** Delayed jobs that one worker in this process, whose processor does nothing, fires in a second. */
    async fire(count) {
      round += 1
      const ids = Array.from({ length: count }, (_, at) => `row-${at}-${round}`)
      await queue.addBulk(
        ids.map((jobId) => ({ name: 'send', data: payload, opts: { jobId, delay: 1, removeOnComplete: true } }))
      )
      const jobs = await queue.getDelayedCount()
      if (jobs !== count) throw new Error(`${jobs} of ${count} jobs are delayed`)
      let fired = 0
      const worker = new Worker('bench', async () => {}, { connection, concurrency: CONCURRENCY, autorun: false })
      await worker.waitUntilReady()
      const startedAt = performance.now()
      await new Promise((resolve, reject) => {
        worker.on('completed', () => {
          fired += 1
          if (fired === count) resolve()
        })
        worker.on('failed', (_, error) => reject(error))
        worker.run().catch(reject)
      })
      const perSecond = (count * 1_000) / (performance.now() - startedAt)
      await worker.close()
      return perSecond
    },
    /** Adds one job that falls due in an hour. */
    add: (id) => queue.add('send', payload, { jobId: id, delay: 3_600_000 }),
    /** Forgets all jobs. */
    clear: () => queue.obliterate({ force: true }),
    close: () => queue.close()
  }
}
