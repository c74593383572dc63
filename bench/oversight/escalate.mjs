// Due tiers per second: the next tier is asked of requests whose first tier's wait is over, each in the unit that writes
// the audit entry and the invitation into the outbox. The first tier's invitations have been delivered, the second's are
// left to a worker that does not run here. Theirs are BullMQ's delayed jobs, fired by a worker whose processor
// does nothing, on a Redis that is as durable (`appendfsync always`); what it does on one that writes nothing to its disk,
// and so loses jobs when that goes down, is named in the rows. Both get their rows before the clock starts, all due by
// then; the rounds are interleaved, and the medians compared. Requests of earlier rounds stay, waiting for their second
// tier.
import { performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { startWorker } from '@enablement/core/schedule'
import { startRedis } from '../../tooling/services/src/index.ts'
import { openBullmq } from '../bullmq.mjs'
import { openPostgres, openSqlite } from '../databases.mjs'
import { countRate, medians, row, some } from '../measuring.mjs'
import { makeOversight } from './make-oversight.mjs'

const REQUESTS = some(4_000)
const JOBS = some(10_000)
const PAYLOAD = { to: 'ana@example.com', subject: 'Refund 12.00 for order 118', tier: 1 }

/** As long as it takes to open the requests of a round and to deliver their invitations. */
const FIRST_WAIT_MS = Math.max(2_000, some(6_000))

async function openOurs(db, callers, afterFilling = async () => {}) {
  let delivered = 0
  const made = await makeOversight(db, {
    firstWaitMs: FIRST_WAIT_MS,
    deliver: async ({ tier }) => {
      // The second tiers' of the round before are delivered too.
      if (tier === 0) delivered += 1
      return { outcome: 'delivered' }
    }
  })
  return {
    /** Opens the requests of a round and waits until all are due. */
    async fill() {
      const worker = startWorker({ duties: made.others })
      delivered = 0
      await countRate(callers, REQUESTS, made.open)
      worker.wake()
      const due = setTimeout(FIRST_WAIT_MS + 50)
      while (delivered < REQUESTS) await setTimeout(20)
      await worker.close()
      await due
      await afterFilling()
    },
    escalate: () => escalated(made)
  }
}

/** The rate at which the second tiers of all that is due are asked. */
async function escalated(made) {
  let left = REQUESTS
  let onDone
  const done = new Promise((resolve) => {
    onDone = resolve
  })
  const counting = {
    ...made.escalation,
    // Counted after the commit, which the unit itself does not see.
    run: async (options) => {
      const run = await made.escalation.run(options)
      left -= run.handled
      if (left <= 0) onDone()
      return run
    }
  }
  const startedAt = performance.now()
  const worker = startWorker({ duties: [counting] })
  await done
  const perSecond = (REQUESTS * 1_000) / (performance.now() - startedAt)
  await worker.close()
  if (left !== 0) throw new Error(`${REQUESTS - left} tiers were asked of ${REQUESTS}`)
  return perSecond
}

export async function rows() {
  const [sqlite, postgres] = [openSqlite(), await openPostgres(16)]
  const [redis, volatileRedis] = await Promise.all([startRedis(), startRedis()])
  const durable = await openBullmq(redis.url, { durable: true, payload: PAYLOAD })
  const unsafe = await openBullmq(volatileRedis.url, { durable: false, payload: PAYLOAD })
  try {
    const onSqlite = await openOurs(sqlite.db, 64)
    const onPostgres = await openOurs(postgres.db, 16, postgres.tidy)
    const found = await medians({
      sqlite: async () => {
        await onSqlite.fill()
        return onSqlite.escalate()
      },
      postgres: async () => {
        await onPostgres.fill()
        return onPostgres.escalate()
      },
      durable: () => durable.fire(JOBS),
      unsafe: () => unsafe.fire(JOBS)
    })
    return ['sqlite', 'postgres'].map((name) => {
      const alsoRan = `without persistence ${Math.round(found.unsafe)}/s, ratio ${(found[name] / found.unsafe).toFixed(2)}`
      const peer = `BullMQ delayed jobs fired, appendfsync always (${alsoRan})`
      return row({ id: `escalate-${name}`, ours: found[name], peer, theirs: found.durable, unit: 'due tiers/s' })
    })
  } finally {
    await Promise.all([durable.close(), unsafe.close(), sqlite.close(), postgres.close()])
    await Promise.all([redis.stop(), volatileRedis.stop()])
  }
}
