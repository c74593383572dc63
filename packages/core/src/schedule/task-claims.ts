import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { integerOf, optionalIntegerOf, textOf } from '../sql/statement.ts'
import { createDueClaims, type DueClaim, type DueClaims, type DueOutlook } from './due-claims.ts'
import { type Firing, firingOf, firingOfRevived } from './recurrence.ts'
import type { ScheduleEvent } from './schedule-event.ts'
import { type DueTask, isUnit, type Task } from './task.ts'
import { payloadOf, type TaskRows } from './task-rows.ts'

/** How many tasks may be claimed. */
export interface Room {
  readonly effects: number
  readonly units: number
  readonly suspect: boolean
}

/** A claimed task and what its recurrence says. */
export interface ClaimedTask {
  readonly task: Task
  readonly due: DueTask
  /** The key of its row. */
  readonly key: string
  /** Whether earlier holders died over it. */
  readonly suspect: boolean
  /** Where its recurrence goes on. */
  readonly next: number | undefined
  /** Why it cannot be done: its rule cannot be followed, or its payload not be read. */
  readonly fault: unknown
}

type Missed = Extract<ScheduleEvent, { type: 'task.missed' }>

/** What a look found. */
interface Look {
  /** The store's time. */
  readonly at: number
  /** Whether a lane was filled, so that there may be more where that came from. */
  readonly full: boolean
  readonly claimed: readonly ClaimedTask[]
  readonly missed: readonly Missed[]
  /** Undefined when the look was not whole. */
  readonly outlook: DueOutlook | undefined
  readonly setAside: number | undefined
}

/** The claims of a schedule's tasks, as parts of units. */
export interface TaskClaims {
  /** For answers. */
  readonly answering: DueClaims
  /**
   * Claims what there is room for, and settles what becomes of missed instants in the same unit. As long as it finds
   * plenty it is whole only where `wantsWhole` says so at the store's time: only then it looks for suspects and ahead.
   */
  look(room: Room, wantsWhole: (at: number) => boolean): Sql<Look>
  /** Takes single runs of units, the longest due first; whoever takes them does them in the same unit. */
  take(limit: number): Sql<DueTask[]>
}

/** Tasks of one kind: they are claimed together. */
interface Lane {
  readonly claims: DueClaims
  readonly names: readonly string[]
}

/** Set-aside tasks are counted up to here: an operator does not need to know how many more there are. */
const SET_ASIDE_COUNTED_MAX = 1_000

export function createTaskClaims(options: {
  readonly dialect: SqlDialect
  readonly rows: TaskRows
  readonly tasks: ReadonlyMap<string, Task>
  readonly leaseMs: number
}): TaskClaims {
  const { dialect, rows, tasks, leaseMs } = options
  const laneOf = (names: readonly string[], further = ''): Lane => ({
    names,
    claims: createDueClaims(dialect, {
      table: 'schedule_tasks',
      key: 'key',
      columns: ['task', 'due_at', 'payload', 'resume_at'],
      where: `task in (${names.map(() => '?').join(', ')})${further}`
    })
  })
  const named = (wanted: (task: Task) => boolean): string[] =>
    [...tasks.values()].filter(wanted).map(({ name }) => name)
  const everything = laneOf([...tasks.keys()])
  const effects = laneOf(named((task) => !isUnit(task)))
  const units = laneOf(named(isUnit))
  const singles = laneOf(units.names, ' and rule is null')

  function* claim({ claims, names }: Lane, limit: number, only: 'fresh' | 'suspect'): Sql<DueClaim[]> {
    if (limit <= 0 || names.length === 0) return []
    return yield* claims.claim({ limit, leaseMs, only, values: names })
  }

  /** What to do with a claim; undefined when there is nothing to do any more. */
  function* settle(claimed: DueClaim, missed: Missed[]): Sql<ClaimedTask | undefined> {
    const { key, fence, attempt, deaths, claimedAt, row } = claimed
    const task = tasks.get(textOf(row, 'task')) as Task
    const dueAt = integerOf(row, 'due_at')
    let due = dueOf(claimed, dueAt, null)
    let firing: Firing = { fire: dueAt, next: undefined }
    let fault: unknown
    try {
      if (key === task.name && task.recurrence !== undefined) {
        const resumeAt = optionalIntegerOf(row, 'resume_at')
        firing =
          resumeAt === undefined
            ? firingOf(task.recurrence, { dueAt, claimedAt, begun: attempt > 1 })
            : firingOfRevived(task.recurrence.recurrence, { dueAt, resumeAt })
      }
      due = dueOf(claimed, firing.fire ?? dueAt)
    } catch (error) {
      fault = error
    }
    const { fire, next } = firing
    if (fire !== dueAt) {
      const nextAt = fire ?? next
      missed.push({ type: 'task.missed', task: task.name, dueAt, nextAt })
      if (nextAt !== undefined) yield* rows.moveTo(key, nextAt)
    }
    if (fire !== undefined) return { task, due, key, suspect: deaths > 0, next, fault }
    if (next === undefined) yield* everything.claims.finish([{ key, fence }])
    else yield* everything.claims.advance([{ key, fence, nextDueAt: next }])
    return undefined
  }

  return {
    answering: everything.claims,
    *look(room, wantsWhole) {
      const at = yield* rows.now()
      const found = yield* claim(effects, room.effects, 'fresh')
      let full = found.length > 0 && found.length === room.effects
      const batch = yield* claim(units, room.units, 'fresh')
      full ||= batch.length > 0 && batch.length === room.units
      const whole = !full || wantsWhole(at)
      const suspects = whole && room.suspect ? yield* claim(everything, 1, 'suspect') : []
      const claimed: ClaimedTask[] = []
      const missed: Missed[] = []
      for (const one of [...found, ...batch, ...suspects]) {
        const settled = yield* settle(one, missed)
        if (settled !== undefined) claimed.push(settled)
      }
      const outlook = whole ? yield* everything.claims.outlook({ at, values: everything.names }) : undefined
      const setAside = whole ? yield* rows.countSetAside(SET_ASIDE_COUNTED_MAX) : undefined
      return { at, full, claimed, missed, outlook, setAside }
    },
    *take(limit) {
      const taken = yield* singles.claims.take({ limit, values: singles.names })
      return taken.map((one) => dueOf(one, integerOf(one.row, 'due_at'))).sort((one, other) => one.dueAt - other.dueAt)
    }
  }
}

function dueOf({ key, fence, attempt, claimedAt, row }: DueClaim, dueAt: number, payload = payloadOf(row)): DueTask {
  return { id: `${key}@${dueAt}`, task: textOf(row, 'task'), dueAt, claimedAt, attempt, fence, payload }
}
