import { createAuditLog, createCompletenessCheck } from '@enablement/core/audit'
import type { Sql, SqlDatabase, SqlResult } from '@enablement/core/sql'
import { type Action, type ApprovalPolicy, createOversight, defineAction } from '@enablement/oversight'
import { oversightAuditSources, sqlOversightStore } from '@enablement/oversight/sql'
import pg from 'pg'
import { describe, expect, inject, it } from 'vitest'
import { postgresSchema } from '../sql/postgres.ts'
import { ACTION, ask, channel, type Raise, raiseDetail, runDuties, stage, twoTiers } from '../stage.ts'

let databases = 0

/** A database of its own, since the server counts deadlocks and waits for each, and other tests make some. */
async function withServer(work: (db: SqlDatabase, pool: pg.Pool) => Promise<void>): Promise<void> {
  databases += 1
  const name = `oversight_races_${process.pid}_${databases}`
  const server = new pg.Client({ connectionString: inject('postgresUrl') })
  await server.connect()
  await server.query(`create database ${name}`)
  const own = new URL(inject('postgresUrl'))
  own.pathname = `/${name}`
  const { db, place, drop } = await postgresSchema(own.href)
  const pool = new pg.Pool({ connectionString: place, max: 4 })
  try {
    await work(db, pool)
  } finally {
    await pool.end()
    await drop()
    // The database goes with the tests' server: dropped by force it would end connections that are just being closed.
    await server.end()
  }
}

/** As another process has it, with the store's own clock. */
async function held(pool: pg.Pool, id: string): Promise<{ release(): Promise<void> }> {
  const client = await pool.connect()
  await client.query('begin')
  await client.query('select id from oversight_requests where id = $1 for update', [id])
  return {
    async release() {
      await client.query('commit')
      client.release()
    }
  }
}

const waits = (pool: pg.Pool): Promise<boolean> =>
  pool
    .query(
      "select count(*)::int as waiting from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    .then(({ rows }) => (rows[0] as { waiting: number }).waiting > 0)

describe('a vote on Postgres that waits for the row', () => {
  it('is held against the clock as it is when the row is had, not as it was before', async () => {
    await withServer(async (db, pool) => {
      const policy: ApprovalPolicy = { ...twoTiers, deadlineMs: 400, identical: 'separate' }
      await using s = await stage(policy, { disk: db })
      const action: Action<Raise> = defineAction({ name: ACTION, detail: raiseDetail, policy })
      const real = createOversight({
        store: sqlOversightStore(db, { audit: createAuditLog({ db }) }),
        actions: [action],
        channels: { pager: channel(), desk: channel() }
      })
      const { id } = await real.open(action, { ...ask, idempotencyKey: 'real' })
      const holder = await held(pool, id)
      const vote = real.decide(id, { approver: 'ana', decision: 'approve' })
      while (!(await waits(pool))) await new Promise((resolve) => setImmediate(resolve))
      const deadline = (await real.inspect(id)).deadlineAt ?? 0
      while (Date.now() <= deadline) await new Promise((resolve) => setImmediate(resolve))
      await holder.release()
      expect(await vote).toMatchObject({ outcome: 'too-late', verdict: { outcome: 'timed-out' } })
      expect(s.events).toEqual([])
    })
  })
})

describe('the statement that locks requests', () => {
  it('reads the clock above the lock, also where many rows are locked', async () => {
    await withServer(async (_, pool) => {
      await pool.query('create table r (id text primary key, due bigint)')
      const clock = 'floor(extract(epoch from clock_timestamp()) * 1000)::bigint'
      for (const which of [
        'id in (select x from jsonb_array_elements_text(\'["a"]\') as l(x)) order by id for update',
        `due <= (select ${clock}) order by due limit 5 for update skip locked`
      ]) {
        const { rows } = await pool.query(
          `explain (verbose, costs off) select id, ${clock} as now from (select id from r where ${which}) as locked`
        )
        const plan = rows.map((row) => String((row as { 'QUERY PLAN': string })['QUERY PLAN']))
        expect(plan[0]).toContain('Subquery Scan')
        expect(plan[1]).toContain('clock_timestamp')
        expect(plan.slice(2).find((line) => line.includes('->'))).toMatch(/LockRows|Limit/)
      }
    })
  })
})

describe('the completeness check on Postgres', () => {
  it('takes a request that is decided between its statements for no contradiction', async () => {
    await withServer(async (db) => {
      await using s = await stage(twoTiers, { disk: db })
      const { id } = await s.open()
      let decide: (() => Promise<unknown>) | undefined = () =>
        s.oversight.decide(id, { approver: 'ana', decision: 'approve' })
      // A unit whose second statement comes after somebody else has committed.
      const slow: SqlDatabase = {
        ...s.db,
        async run(work, options) {
          const now = decide
          if (now === undefined) return s.db.run(work, options)
          decide = undefined
          return interleaved(s.db, work, now)
        }
      }
      const completeness = createCompletenessCheck({ db: slow, sources: oversightAuditSources(s.db.dialect) })
      expect(await completeness.check('oversight.requests')).toMatchObject({ outcome: 'complete' })
    })
  })
})

/** Runs a unit, and `between` after its first statement. */
async function interleaved<T>(db: SqlDatabase, work: () => Sql<T>, between: () => Promise<unknown>): Promise<T> {
  const unit = work()
  let turn = unit.next()
  for (let at = 0; turn.done !== true; at++) {
    const statement = turn.value
    // Each statement sees what is committed before it, as in a unit at READ COMMITTED that writes nothing.
    const result = await db.run(function* (): Sql<SqlResult> {
      return yield statement
    })
    if (at === 0) await between()
    turn = unit.next(result)
  }
  return turn.value
}

describe('everything at the same time on Postgres', () => {
  it('meets no deadlock, and leaves one whole record', async () => {
    await withServer(async (db, pool) => {
      const deadlocks = async (): Promise<number> => {
        const { rows } = await pool.query(
          'select deadlocks::int as n from pg_stat_database where datname = current_database()'
        )
        return (rows[0] as { n: number }).n
      }
      const before = await deadlocks()
      const digesting = { ...channel(), digest: async () => ({ outcome: 'delivered' }) as const }
      const tiers = [{ approvers: ['ana', 'bo', 'cy'], channels: ['pager', 'desk'], waitMs: 1_000 }]
      const policy: ApprovalPolicy = {
        tiers: [...tiers, ...tiers],
        strategy: 'all-approve',
        onExhausted: 'deny',
        standingGrants: 'accepted'
      }
      await using s = await stage(
        { ...policy, identical: 'coalesce' },
        { disk: db, channels: { pager: digesting, desk: channel() } }
      )
      const processes = Array.from({ length: 4 }, () => s.another())
      const details = (at: number) => ({ limitMebibytes: at % 40 })
      const work = processes.map(async (process, p) => {
        for (let round = 0; round < 4; round++) {
          const opened = await Promise.all(
            Array.from({ length: 30 }, (_, at) =>
              process.open(s.raise, {
                ...ask,
                tenant: `t${at % 3}`,
                idempotencyKey: `${p}-${round}-${at}`,
                detail: details(at)
              })
            )
          )
          await Promise.all([
            runDuties(process),
            ...opened.map(async ({ id }, at) => {
              const approver = ['ana', 'bo', 'cy'][(at + p) % 3] as string
              if (at % 5 === 0) return process.request(s.raise, id).cancel({ by: 'uma', reason: 'no' })
              if (at % 7 === 0) {
                const { argumentHash } = await process.inspect(id)
                return process.edit(id, { by: approver, detail: details(at + 100), reason: 'less', argumentHash })
              }
              return process.decide(id, { approver, decision: 'approve' })
            })
          ])
          await s.platform.clock.advance(400)
        }
      })
      await Promise.all(work)
      for (const waitMs of [2_000, 2_000, 2_000]) {
        await s.platform.clock.advance(waitMs)
        await Promise.all(processes.map(runDuties))
      }
      expect(await deadlocks()).toBe(before)
      const completeness = createCompletenessCheck({ db: s.db, sources: oversightAuditSources(s.db.dialect) })
      expect(await completeness.check('oversight.requests')).toMatchObject({ outcome: 'complete' })
    })
  }, 60_000)
})
