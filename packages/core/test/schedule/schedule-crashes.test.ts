import { minutes, seconds } from '@enablement/core'
import { admitFence, lockSchema } from '@enablement/core/lock'
import { createSchedule, every, type Schedule, scheduleSchema } from '@enablement/core/schedule'
import { execute, migrate, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, type TestPlatform, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { describe, expect, inject, it } from 'vitest'
import { START_AT } from './schedule-kit.ts'

const LEASE_MS = 10_000
/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))

/** A process: effects go to a table of the same store, each guarded by its fence. */
function start(db: SqlDatabase, platform: TestPlatform): Schedule<'call' | 'tell' | 'tick'> {
  return createSchedule({
    db,
    platform,
    leaseMs: LEASE_MS,
    tasks: {
      call: {
        run: async ({ id, fence }) => {
          await db.run(function* () {
            const { outcome } = yield* admitFence(id, fence)
            if (outcome === 'admitted') yield* execute('insert into effects(id) values (?) on conflict do nothing', id)
          })
        }
      },
      // Not idempotent, and need not be.
      tell: {
        *unit(dues) {
          for (const { id } of dues) yield* execute('insert into outbox(id) values (?)', id)
        }
      },
      tick: {
        recurrence: every(minutes(1)),
        misfire: { policy: 'all', catchUpMs: minutes(60) },
        *unit(dues) {
          for (const { id } of dues) yield* execute('insert into outbox(id) values (?)', id)
        }
      }
    }
  })
}

async function prepared(platform: TestPlatform) {
  const disk = sqliteDatabase({ path: ':memory:' })
  const store = withStoreClock(disk, platform.clock)
  await migrate(store, [scheduleSchema, lockSchema])
  await store.run(function* () {
    yield* execute('create table effects (id text primary key) strict')
    yield* execute('create table outbox (id text primary key) strict')
  })
  return store
}

const idsIn = async (db: SqlDatabase, table: string): Promise<string[]> =>
  (await db.run(() => rows(`select id from ${table} order by id`))).map((row) => textOf(row, 'id'))

/** Lets a process run until it finds nothing more to do, dies, or waits for time to pass. */
async function run(schedule: Schedule, platform: TestPlatform): Promise<void> {
  const stop = new AbortController()
  const done = schedule.duties[0]?.run({ signal: stop.signal }).catch(unlessCrashed)
  await platform.clock.advance(0)
  await platform.clock.advance(0)
  stop.abort()
  await platform.clock.advance(0)
  void done
}

describe('a process that dies', () => {
  it('at any step (research 5) loses no task, does no unit twice, and lets the next one repeat an effect under the same id', async () => {
    let points = 0
    for (let at = 0; ; at += stride) {
      const platform = testPlatform()
      await using store = await prepared(platform)
      const whole = start(store, platform)
      await store.run(() =>
        whole.putAll([
          { task: 'call', id: '1', dueAt: START_AT },
          { task: 'call', id: '2', dueAt: START_AT },
          { task: 'tell', id: '1', dueAt: START_AT },
          { task: 'tell', id: '2', dueAt: START_AT }
        ])
      )
      const doomed = crashPoints(store, { at })
      const dying = start(doomed, platform)
      await run(dying, platform)
      await platform.clock.advance(seconds(61))
      await run(dying, platform)
      // Somebody else takes over when the leases have ended; one suspect at a time, so it looks a few times.
      const successor = start(store, platform)
      for (let turn = 0; turn < 8; turn += 1) {
        await platform.clock.advance(LEASE_MS)
        await run(successor, platform)
      }
      expect(await idsIn(store, 'effects')).toEqual([1, 2].map((id) => `call/${id}@${START_AT}`))
      const told = await idsIn(store, 'outbox')
      expect(told.slice(0, 2)).toEqual([1, 2].map((id) => `tell/${id}@${START_AT}`))
      // Minute after minute without a gap, from the first after it was put; the rows would not go in twice.
      const ticks = told.slice(2).map((id) => (Number(id.slice('tick@'.length)) - START_AT) / minutes(1))
      expect(ticks).toEqual(Array.from({ length: 3 - (ticks[0] ?? 0) }, (_, nth) => (ticks[0] ?? 0) + nth))
      expect(await store.run(() => rows("select key from schedule_tasks where key <> 'tick'"))).toEqual([])
      expect(await store.run(() => whole.setAside())).toEqual([])
      points = doomed.passed
      if (doomed.crashed === undefined) break
    }
    expect(points).toBeGreaterThan(30)
  })

  it('while it puts a task has put it or not, and the caller that repeats itself puts it once', async () => {
    for (let at = 0; ; at += 1) {
      const platform = testPlatform()
      await using store = await prepared(platform)
      const doomed = crashPoints(store, { at })
      const task = { task: 'call', id: '1', dueAt: START_AT } as const
      await doomed.run(() => start(doomed, platform).put(task)).catch(unlessCrashed)
      const left = await store.run(() => rows('select key from schedule_tasks'))
      const again = await store.run(() => start(store, platform).put(task))
      expect(again.outcome).toBe(left.length === 0 ? 'scheduled' : 'exists')
      expect(doomed.crashed?.at === 'reply-lost' || doomed.crashed === undefined).toBe(left.length === 1)
      if (doomed.crashed === undefined) break
    }
  })
})
