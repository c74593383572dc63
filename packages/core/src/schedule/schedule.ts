import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import type { Duty } from './duty.ts'
import type { ScheduleEvent } from './schedule-event.ts'
import {
  type NewTask,
  newTaskSchema,
  type TaskDefinition,
  type TaskRef,
  taskOf,
  taskRefSchema,
  tasksSchema
} from './task.ts'
import { taskDuty } from './task-duty.ts'
import {
  type CancelledTask,
  type PutTask,
  type RevivedTask,
  type SetAsideTask,
  type TaskStatus,
  taskRows
} from './task-rows.ts'

export interface ScheduleOptions<Name extends string = string> {
  /** Where the tasks are. It needs `scheduleSchema`. */
  readonly db: SqlDatabase
  /**
   * By name: 1 to 64 letters, digits, and any of `. : _ -`. This process does these and leaves all others alone, so that
   * different ones can share the table. Those that must not wait for one another go into schedules of their own.
   */
  readonly tasks: { readonly [name in Name]: TaskDefinition }
  /** The name of its duty; `schedule` unless given. */
  readonly name?: string
  /**
   * Effects that are under way at the same time in this process, and so claimed at the same time; 16 unless given. A task
   * that a worker died over comes on top, one at a time, so that those behind it cannot shut it out.
   */
  readonly concurrency?: number
  /** For how long the tasks of a process that died are nobody's: integer milliseconds, 60,000 unless given, 200 to a day. */
  readonly leaseMs?: number
  /**
   * Tasks that this process begins in a second, at most, over any length of time; unlimited unless given. It spreads out
   * what has gathered during a downtime.
   */
  readonly startsPerSecondMax?: number
  readonly platform?: Platform
  /** What it throws or rejects with is dropped. */
  readonly observe?: (event: ScheduleEvent) => void
}

/** Tasks that fall due, in the user's database. What is a `Sql` is part of a unit of the caller's. */
export interface Schedule<Name extends string = string> {
  /** Does what falls due; for `startWorker`. Any number of processes may. */
  readonly duties: readonly Duty[]
  /**
   * Puts a single run of a task, also of one that recurs. It exists exactly if the unit took effect. Throws
   * `INVALID_OPTIONS`, and `NOT_JSON` for a payload that is not JSON or too long.
   */
  put(task: NewTask<Name>): Sql<PutTask>
  /** As `put`, for up to 10,000 in one statement. */
  putAll(tasks: readonly NewTask<Name>[]): Sql<PutTask[]>
  /**
   * Removes a run, or a recurrence until the next start of a process that has it. What is under way is told by its signal
   * when its lease would be extended next, and its end changes nothing any more.
   */
  cancel(ref: TaskRef): Sql<CancelledTask>
  /** Instants that were given up, the oldest first; 100 unless given, up to 10,000. */
  setAside(options?: { readonly limit?: number }): Sql<SetAsideTask[]>
  /** Lets an instant that was given up fall due again, its attempts counted anew. A recurrence then goes on where it was. */
  revive(ref: TaskRef): Sql<RevivedTask>
  /** Forgets an instant that was given up. */
  drop(ref: TaskRef): Sql<{ readonly outcome: 'dropped' | 'absent' }>
  /** How all tasks of the table stand, those of other schedules included. Reads the whole table. */
  status(): Sql<TaskStatus[]>
}

const CONCURRENCY = 16
/** More than this in one process is a mistake for what one machine can do at once. */
const CONCURRENCY_MAX = 10_000
const LEASE_MS = 60_000
const SET_ASIDE_LISTED = 100
/** Some megabytes of one statement, and a unit of some tenths of a second. */
const AT_ONCE_MAX = 10_000

const scheduleOptions: z.ZodType<ScheduleOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value),
  tasks: tasksSchema,
  name: z.string().min(1).max(128).exactOptional(),
  concurrency: z.int().min(1).max(CONCURRENCY_MAX).exactOptional(),
  leaseMs: z.int().min(200).max(86_400_000).exactOptional(),
  startsPerSecondMax: z.number().gt(0).max(1_000_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: ScheduleEvent) => void>((value) => typeof value === 'function').exactOptional()
})

const newTasksSchema: z.ZodType<readonly NewTask[]> = z.array(newTaskSchema).max(AT_ONCE_MAX)
const limitSchema: z.ZodType<{ readonly limit?: number }> = z.strictObject({
  limit: z.int().min(1).max(AT_ONCE_MAX).exactOptional()
})

/**
 * Durable timers: tasks that fall due at an instant or again and again, as rows of `scheduleSchema` that are claimed by
 * lease and fence. The store's clock decides what is due; instants may be any length of time away.
 *
 * A recurrence is put when the duty runs first. Of each instant every process fires the same id. Throws
 * `INVALID_OPTIONS`.
 */
export function createSchedule<const Name extends string>(options: ScheduleOptions<Name>): Schedule<Name> {
  const parsed = parseOptions(scheduleOptions, 'createSchedule', options)
  const { db, name = 'schedule', concurrency = CONCURRENCY, leaseMs = LEASE_MS, startsPerSecondMax, observe } = parsed
  const { platform = systemPlatform } = parsed
  const tasks = new Map(Object.entries(parsed.tasks).map(([task, definition]) => [task, taskOf(task, definition)]))
  const rows = taskRows(db.dialect)
  const report = reporter(observe)

  const known = (subject: string, task: string): void => {
    if (!tasks.has(task)) parseOptions(unknownTask, subject, { task })
  }
  const refOf = (subject: string, ref: TaskRef): TaskRef => parseOptions(taskRefSchema, subject, ref)
  const putAll = (subject: string, given: readonly NewTask[]): Sql<PutTask[]> => {
    const checked = parseOptions(newTasksSchema, subject, given)
    for (const { task } of checked) known(subject, task)
    return rows.put(checked)
  }

  return {
    duties: [taskDuty({ name, db, rows, tasks, platform, concurrency, leaseMs, startsPerSecondMax, report })],
    *put(task) {
      const [answer] = yield* putAll('schedule.put', [task])
      return answer as PutTask
    },
    putAll: (given) => putAll('schedule.putAll', given),
    cancel: (ref) => rows.cancel(refOf('schedule.cancel', ref)),
    setAside: (given = {}) =>
      rows.listSetAside(parseOptions(limitSchema, 'schedule.setAside', given).limit ?? SET_ASIDE_LISTED),
    revive: (ref) => rows.revive(refOf('schedule.revive', ref)),
    drop: (ref) => rows.drop(refOf('schedule.drop', ref)),
    status: () => rows.status()
  }
}

const unknownTask: z.ZodType<{ readonly task: string }> = z
  .strictObject({ task: z.string() })
  .refine(() => false, { path: ['task'], message: 'the schedule knows no such task' })
