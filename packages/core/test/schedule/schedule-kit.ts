import {
  createSchedule,
  type Schedule,
  type ScheduleEvent,
  type ScheduleOptions,
  scheduleSchema,
  startWorker,
  type Worker
} from '@enablement/core/schedule'
import { migrate, rows, type Sql, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'

/** 2026-01-01T00:00:00Z, where the virtual clock starts. */
export const START_AT = Date.UTC(2026, 0, 1)

/** A schedule in memory, whose store's clock is the virtual one, and the worker that drives it. */
export interface Scene<Name extends string> extends AsyncDisposable {
  readonly platform: TestPlatform
  readonly db: SqlDatabase
  readonly schedule: Schedule<Name>
  readonly worker: Worker
  readonly events: ScheduleEvent[]
  /** Runs a unit while the clock stands. */
  unit<T>(work: () => Sql<T>): Promise<T>
  /** The table, as it is. */
  rows(): Promise<readonly Readonly<Record<string, unknown>>[]>
  advance(durationMs: number): Promise<void>
  /** As if the process had been down from now on for so long: the clock goes on, and nobody looks. */
  sleepFor(durationMs: number): Promise<void>
}

export async function scene<const Name extends string>(
  options: Pick<ScheduleOptions<Name>, 'tasks'> &
    Partial<ScheduleOptions<Name>> & {
      readonly pollMs?: number
      readonly now?: number
      readonly platform?: TestPlatform
    }
): Promise<Scene<Name>> {
  const { pollMs = 1_000, now = START_AT, ...rest } = options
  const { platform = testPlatform({ now }) } = rest
  const { clock } = platform
  const disk = rest.db ?? sqliteDatabase({ path: ':memory:' })
  const db = rest.db ?? withStoreClock(disk, clock)
  await migrate(db, [scheduleSchema])
  const events: ScheduleEvent[] = []
  const schedule = createSchedule<Name>({
    observe: (event) => events.push(event),
    platform,
    ...rest,
    db
  })
  let worker = startWorker({ duties: schedule.duties, platform, pollMs, drainMs: 0 })
  return {
    platform,
    db,
    schedule,
    get worker() {
      return worker
    },
    events,
    unit: (work) => db.run(work),
    rows: () => db.run(() => rows('select * from schedule_tasks order by key')),
    advance: (durationMs) => clock.advance(durationMs),
    async sleepFor(durationMs) {
      const closed = worker.close()
      // Those that do not heed that they are cut off are left alone after 5 s.
      await clock.advance(Math.min(durationMs, 6_000))
      await closed
      await clock.advance(Math.max(0, durationMs - 6_000))
      worker = startWorker({ duties: schedule.duties, platform, pollMs, drainMs: 0 })
    },
    async [Symbol.asyncDispose]() {
      const closed = worker.close()
      await clock.advance(10_000)
      await closed
      if (rest.db === undefined) await disk.close()
    }
  }
}
