import { canonicalJson } from '../json/canonical-json.ts'
import type { JsonValue } from '../json/json.ts'
import type { Sql, SqlDialect, SqlRow } from '../sql/sql-database.ts'
import {
  changes,
  execute,
  firstRow,
  integerOf,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  textOf
} from '../sql/statement.ts'
import { instantAfter } from './recurrence.ts'
import { keyOf, type NewTask, PAYLOAD_MAX, refOf, type Task, type TaskRef } from './task.ts'

/** The answer to a new run. `exists`: one of this task and id waits already, or is set aside; nothing was changed. */
export interface PutTask {
  readonly outcome: 'scheduled' | 'exists'
}

/** The answer to a cancellation. With `begun` an attempt was under way or had been, and may have had its effect. */
export type CancelledTask = { readonly outcome: 'cancelled'; readonly begun: boolean } | { readonly outcome: 'absent' }

/** An instant that was given up after too many attempts, and waits for somebody to look at it. */
export interface SetAsideTask {
  readonly task: string
  /** That of a single run; a recurrence has none, and goes on with its next instant. */
  readonly id: string | undefined
  readonly dueAt: number
  readonly setAsideAt: number
  readonly attempts: number
  /** `died` when the last attempt was not answered for: the task may kill or hang whoever does it. */
  readonly reason: 'failed' | 'died'
  /** The last failure by name and code; its message stays out of the store, because it may quote anything. */
  readonly error: string | undefined
}

/** The answer about an instant that was set aside; `busy` when the recurrence is at another one just now. */
export interface RevivedTask {
  readonly outcome: 'revived' | 'busy' | 'absent'
}

/** How the runs of one task stand. */
export interface TaskStatus {
  readonly task: string
  /** Runs that wait for their instant or for an attempt. */
  readonly waiting: number
  /** Runs that somebody does at the moment. */
  readonly held: number
  /** Instants that were given up and neither revived nor dropped; of each recurrence the last one. */
  readonly setAside: number
  /** How long the one that has waited longest has been due; 0 when none is. */
  readonly lagMs: number
}

/** Why an instant is given up. */
export interface GivenUp {
  readonly attempts: number
  readonly reason: SetAsideTask['reason']
  readonly error: string | undefined
}

/** The statements on the table of tasks that are not claims. */
export interface TaskRows {
  put(tasks: readonly NewTask[]): Sql<PutTask[]>
  cancel(ref: TaskRef): Sql<CancelledTask>
  /** Puts recurrences that the table does not know or knows by another rule. One that is held is left `undone`. */
  arm(tasks: readonly Task[]): Sql<'armed' | 'undone'>
  /** Keeps what was given up at `dueAt`, in the unit that ends the claim. */
  setAside(key: string, dueAt: number, givenUp: GivenUp): Sql<void>
  /** Moves a recurrence to another instant, in the unit that claims it or ends the claim. */
  moveTo(key: string, dueAt: number): Sql<void>
  listSetAside(limit: number): Sql<SetAsideTask[]>
  /** At most `limit`. */
  countSetAside(limit: number): Sql<number>
  revive(ref: TaskRef): Sql<RevivedTask>
  drop(ref: TaskRef): Sql<{ readonly outcome: 'dropped' | 'absent' }>
  status(): Sql<TaskStatus[]>
  /** The store's time. */
  now(): Sql<number>
}

export function taskRows(dialect: SqlDialect): TaskRows {
  const { now } = dialect
  const given =
    dialect.name === 'postgres'
      ? `(select e ->> 0 as key, e ->> 1 as task, (e ->> 2)::bigint as due_at, e ->> 3 as payload
          from json_array_elements(?::json) as e) as given`
      : `(select value ->> 0 as key, value ->> 1 as task, value ->> 2 as due_at, value ->> 3 as payload
          from json_each(?)) as given`
  // `where true` keeps SQLite from reading `on conflict` as a join's condition.
  const putText = `insert into schedule_tasks(key, task, due_at, payload, next_due_at)
    select key, task, due_at, payload, due_at from ${given} where true
    on conflict (key) do nothing returning key`
  const armText = `insert into schedule_tasks(key, task, due_at, rule, next_due_at) values (?, ?, ?, ?, ?)
    on conflict (key) do update set
      due_at = excluded.due_at, rule = excluded.rule, next_due_at = excluded.next_due_at, resume_at = null, attempts = 0,
      fence = schedule_tasks.fence + 1
    where schedule_tasks.rule <> excluded.rule and schedule_tasks.unanswered = 0`
  const statusText = `select task,
      count(next_due_at) as alive, count(case when unanswered > 0 and next_due_at > ${now} then 1 end) as held,
      count(aside_at) as set_aside,
      min(next_due_at) as earliest, ${now} as read_at
    from schedule_tasks group by task order by task`

  const rowsOf =
    dialect.name === 'postgres' ? 'select json_array_elements_text(?::json)' : 'select value from json_each(?)'

  return {
    *put(tasks) {
      const keys = tasks.map(keyOf)
      const values = tasks.map(({ task, dueAt, payload }, at) => [
        keys[at],
        task,
        dueAt,
        payload === undefined ? null : canonicalJson(payload, { lengthMax: PAYLOAD_MAX })
      ])
      const fresh = new Set((yield* rows(putText, JSON.stringify(values))).map((row) => textOf(row, 'key')))
      // Of two of one key in this call the first one is put.
      return keys.map((key) => ({ outcome: fresh.delete(key) ? 'scheduled' : 'exists' }))
    },
    *cancel(ref) {
      // The attempts of a run that was given up or given back are not counted any more; its fence stays.
      const text = `delete from schedule_tasks where key = ?
        returning case when rule is null then fence else attempts end as trace`
      const row = yield* firstRow(text, keyOf(ref))
      return row === undefined ? { outcome: 'absent' } : { outcome: 'cancelled', begun: integerOf(row, 'trace') > 0 }
    },
    *arm(tasks) {
      const at = yield* readNow(now)
      const rules = new Map<string, string>()
      for (const { name, recurrence } of tasks) {
        const rule = recurrence?.recurrence
        const first = rule === undefined ? undefined : instantAfter(rule, at)
        if (rule === undefined || first === undefined) continue
        rules.set(name, rule.rule)
        yield* execute(armText, name, name, first, rule.rule, first)
      }
      const stored = yield* rows(
        `select key, rule from schedule_tasks where key in (${rowsOf})`,
        JSON.stringify([...rules.keys()])
      )
      return stored.every((row) => rules.get(textOf(row, 'key')) === textOf(row, 'rule')) ? 'armed' : 'undone'
    },
    *setAside(key, dueAt, { attempts, reason, error }) {
      yield* execute(
        `update schedule_tasks set
          aside_at = ${now}, aside_due_at = ?, aside_attempts = ?, aside_reason = ?, aside_error = ? where key = ?`,
        dueAt,
        attempts,
        reason,
        error ?? null,
        key
      )
    },
    *moveTo(key, dueAt) {
      yield* execute('update schedule_tasks set due_at = ?, resume_at = null where key = ?', dueAt, key)
    },
    *listSetAside(limit) {
      const found = yield* rows(
        `select key, aside_due_at, aside_at, aside_attempts, aside_reason, aside_error from schedule_tasks
         where aside_at is not null order by aside_at, key limit ?`,
        limit
      )
      return found.map(setAsideOf)
    },
    *countSetAside(limit) {
      const text = `select count(*) as n from
        (select 1 from schedule_tasks where aside_at is not null limit ?) as aside`
      return integerOf((yield* firstRow(text, limit)) ?? {}, 'n')
    },
    *revive(ref) {
      const key = keyOf(ref)
      const text = `update schedule_tasks set resume_at = case when rule is not null then due_at end,
          due_at = aside_due_at, next_due_at = ${now}, attempts = 0, ${forgotten}
        where key = ? and aside_at is not null and unanswered = 0`
      if ((yield* changes(text, key)) === 1) return { outcome: 'revived' }
      return { outcome: (yield* isSetAside(key)) ? 'busy' : 'absent' }
    },
    *drop(ref) {
      const key = keyOf(ref)
      if (!(yield* isSetAside(key))) return { outcome: 'absent' }
      // A recurrence that goes on keeps its row, and only what is kept of the instant goes.
      const gone = yield* changes('delete from schedule_tasks where key = ? and next_due_at is null', key)
      if (gone === 0) yield* execute(`update schedule_tasks set ${forgotten} where key = ?`, key)
      return { outcome: 'dropped' }
    },
    *status() {
      return (yield* rows(statusText)).map((row) => ({
        task: textOf(row, 'task'),
        waiting: integerOf(row, 'alive') - integerOf(row, 'held'),
        held: integerOf(row, 'held'),
        setAside: integerOf(row, 'set_aside'),
        lagMs: Math.max(0, integerOf(row, 'read_at') - (optionalIntegerOf(row, 'earliest') ?? Number.MAX_SAFE_INTEGER))
      }))
    },
    now: () => readNow(now)
  }
}

const forgotten = 'aside_at = null, aside_due_at = null, aside_attempts = null, aside_reason = null, aside_error = null'

function* isSetAside(key: string): Sql<boolean> {
  return (
    (yield* firstRow('select 1 as found from schedule_tasks where key = ? and aside_at is not null', key)) !== undefined
  )
}

function* readNow(now: string): Sql<number> {
  return integerOf((yield* firstRow(`select ${now} as now`)) ?? {}, 'now')
}

function setAsideOf(row: SqlRow): SetAsideTask {
  const { task, id } = refOf(textOf(row, 'key'))
  return {
    task,
    id,
    dueAt: integerOf(row, 'aside_due_at'),
    setAsideAt: integerOf(row, 'aside_at'),
    attempts: integerOf(row, 'aside_attempts'),
    reason: textOf(row, 'aside_reason') === 'died' ? 'died' : 'failed',
    error: optionalTextOf(row, 'aside_error')
  }
}

/** What a row was put with. */
export function payloadOf(row: SqlRow): JsonValue {
  const text = optionalTextOf(row, 'payload')
  return text === undefined ? null : (JSON.parse(text) as JsonValue)
}
