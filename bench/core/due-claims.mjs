// Due rows per second. Ours are tasks of a schedule whose effect is a message in an outbox, put in the unit that also ends
// them: each is fired once, durably. Theirs are BullMQ's delayed jobs, fired by a worker whose processor does nothing, on
// a Redis that is as durable (`appendfsync always`). Both get their rows before the clock starts, all due by then, and
// one worker in this process fires them; the rounds are interleaved, and the medians compared.
//
// Postgres takes its statistics of the tasks before each round, which autovacuum does within a minute wherever there are
// some: without that it sorts all that is due for each batch.
//
// BullMQ gets the concurrency that is best for it here; ours decides for itself how many rows share a unit. What BullMQ
// does on a Redis that writes nothing to its disk, and so loses jobs when that goes down, is measured too and named in
// the rows; ours is as durable in both comparisons.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { createOutbox, outboxSchema } from '@enablement/core/outbox'
import { postgresDatabase } from '@enablement/core/postgres'
import { createSchedule, scheduleSchema, startWorker } from '@enablement/core/schedule'
import { changes, migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import pg from 'pg'
import { startPostgres, startRedis } from '../../tooling/services/src/index.ts'
import { openBullmq } from '../bullmq.mjs'

const ROWS = 10_000
const ROUNDS = 9
const PAYLOAD = { to: 'ana@example.com', subject: 'Your report of today', template: 'report', locale: 'en' }

const ids = Array.from({ length: ROWS }, (_, at) => `row-${at}`)

/** Rows that `fire` fires in a second, from its start until it says that all are done. */
async function rate(fire) {
  const startedAt = performance.now()
  await fire()
  return (ROWS * 1_000) / (performance.now() - startedAt)
}

async function openOurs(db, afterFilling = async () => {}) {
  await migrate(db, [scheduleSchema, outboxSchema])
  const outbox = createOutbox({ db, name: 'mail', deliver: async () => ({ outcome: 'delivered' }) })
  let left = 0
  let onDone
  const schedule = createSchedule({
    db,
    tasks: {
      send: {
        *unit(dues) {
          yield* outbox.putAll(dues.map(({ payload }) => ({ payload: JSON.stringify(payload) })))
        }
      }
    }
  })
  // Counted after the commit, which the unit itself does not see.
  const duty = schedule.duties[0]
  const counting = {
    ...duty,
    run: async (options) => {
      const run = await duty.run(options)
      left -= run.handled
      if (left === 0) onDone()
      return run
    }
  }
  return {
    async round() {
      await db.run(() =>
        schedule.putAll(ids.map((id) => ({ task: 'send', id, dueAt: 1_700_000_000_000, payload: PAYLOAD })))
      )
      await afterFilling()
      left = ROWS
      const done = new Promise((resolve) => {
        onDone = resolve
      })
      let worker
      const perSecond = await rate(() => {
        worker = startWorker({ duties: [counting] })
        return done
      })
      await worker.close()
      const written = await db.run(() => changes('delete from outbox_messages'))
      if (written !== ROWS) throw new Error(`${written} of ${ROWS} rows were fired`)
      return perSecond
    },
    close: () => db.close()
  }
}

async function openTheirs(url, durable) {
  const bullmq = await openBullmq(url, { durable, payload: PAYLOAD })
  return { round: () => bullmq.fire(ROWS), close: () => bullmq.close() }
}

const median = (rates) => rates.toSorted((one, other) => one - other)[rates.length >> 1]

/** The rows of the bench protocol; `ratio` above 1 means that ours is better. */
export async function rows() {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-bench-due-'))
  const [redis, volatileRedis, server] = await Promise.all([startRedis(), startRedis(), startPostgres({ fsync: true })])
  const pool = new pg.Pool({ connectionString: server.url, max: 4 })
  const runners = {
    sqlite: await openOurs(sqliteDatabase({ path: join(folder, 'ours.db') })),
    postgres: await openOurs(postgresDatabase(pool), () => pool.query('analyze schedule_tasks')),
    durable: await openTheirs(redis.url, true),
    volatile: await openTheirs(volatileRedis.url, false)
  }
  const rates = { sqlite: [], postgres: [], durable: [], volatile: [] }
  try {
    for (let round = -1; round < ROUNDS; round++) {
      for (const [name, runner] of Object.entries(runners)) {
        const perSecond = await runner.round()
        // The first round warms all up.
        if (round >= 0) rates[name].push(perSecond)
      }
    }
  } finally {
    for (const runner of Object.values(runners)) await runner.close()
    await pool.end()
    await Promise.all([redis.stop(), volatileRedis.stop(), server.stop()])
    rmSync(folder, { recursive: true })
  }
  const theirs = median(rates.durable)
  const unsafe = median(rates.volatile)
  return ['sqlite', 'postgres'].map((name) => {
    const ours = median(rates[name])
    const alsoRan = `without persistence ${Math.round(unsafe)} rows/s, ratio ${(ours / unsafe).toFixed(2)}`
    return {
      id: `due-claims-${name}`,
      ours: Math.round(ours),
      peer: `BullMQ delayed jobs fired, appendfsync always (${alsoRan})`,
      theirs: Math.round(theirs),
      unit: 'due rows/s',
      ratio: Number((ours / theirs).toFixed(2))
    }
  })
}
