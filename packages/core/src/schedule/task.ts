import { z } from 'zod'
import { plainText } from '../failure/plain-text.ts'
import type { JsonValue } from '../json/json.ts'
import { type Backoff, backoffSchema } from '../resilience/backoff.ts'
import type { Sql } from '../sql/sql-database.ts'
import { instantSchema, type Misfire, misfireSchema, type Recurrence } from './recurrence.ts'

/** A task that is due, as whoever does it sees it. */
export interface DueTask {
  /**
   * `task@dueAt` or `task/id@dueAt`: the same at every attempt at this instant and at no other. It is the idempotency
   * key for whatever the task does.
   */
  readonly id: string
  readonly task: string
  /** When it was due: epoch milliseconds, without jitter and whatever happened since. */
  readonly dueAt: number
  /** When this attempt was claimed, by the store's clock. */
  readonly claimedAt: number
  /** 1 for the first. Attempts whose worker died count, those that a closing worker gave back do not. */
  readonly attempt: number
  /** Higher than that of every earlier attempt: what is written to can refuse lower ones, see `admitFence` in core/lock. */
  readonly fence: number
  /** What it was put with; null if nothing, and for recurrences. */
  readonly payload: JsonValue
}

/** A task that is being run. */
export interface RunningTask extends DueTask {
  /**
   * Aborts when its lease cannot be held on to, before anybody else gets it; after `timeoutMs`; and when the worker is
   * cut off while it closes.
   */
  readonly signal: AbortSignal
}

/** What holds for a task however it is done. */
export interface TaskRules {
  /** When it is due, again and again; without it, it is due when somebody puts it. */
  readonly recurrence?: Recurrence
  /** What becomes of instants that nobody was there for; required of recurrences. Late is later than jitter makes it. */
  readonly misfire?: Misfire
  /** Each instant of the recurrence is fired up to so much later, at random; 0 unless given. */
  readonly jitterMs?: number
  /** Attempts after which it is set aside, those included that killed their worker; 5 unless given. */
  readonly attemptsMax?: number
  /** The pause after an attempt that failed; equal jitter from 1 s to 5 min unless given. */
  readonly backoff?: Backoff
}

/** A task with effects of its own: calls, mails, files. */
export interface EffectTask extends TaskRules {
  /** Done when it resolves; failed when it throws. At least once for each instant. */
  run(due: RunningTask): Promise<void> | void
  /** How long an attempt may take; 10 minutes unless given. After it the lease is no longer extended. */
  readonly timeoutMs?: number
}

/** A task whose whole effect is in the schedule's database. */
export interface UnitTask extends TaskRules {
  /**
   * Part of the unit that also ends the tasks: exactly once for each instant. It is given all that fell due together,
   * 512 at most, the longest due first, because few statements for many are what makes it fast. Where it throws, each is
   * tried in a unit of its own, so that the one at fault fails alone.
   */
  unit(dues: readonly DueTask[]): Sql<void>
}

/** What is done when a task is due, and by which rules. */
export type TaskDefinition = EffectTask | UnitTask

/** A single run of a task. */
export interface NewTask<Name extends string = string> {
  readonly task: Name
  /** Unique for the task while it waits or is set aside: 1 to 128 characters, well-formed and without NUL. */
  readonly id: string
  /** Epoch milliseconds, by the store's clock; an instant that has passed is due at once. */
  readonly dueAt: number
  /** JSON, at most 65,536 characters long. */
  readonly payload?: JsonValue
}

/** Which run: that of a recurrence has no `id`. */
export interface TaskRef<Name extends string = string> {
  readonly task: Name
  readonly id?: string
}

const TASK_MAX = 64
const ID_MAX = 128
/** Up to 512 of them are read at once. */
export const PAYLOAD_MAX = 65_536
const ATTEMPTS_MAX = 5
const TIMEOUT_MS = 600_000
const BACKOFF: Backoff = { jitter: 'equal', baseMs: 1_000, maxMs: 300_000 }

/** No slash and no at sign: keys and ids are joined with them, and must not collide. */
const nameSchema = z
  .string()
  .max(TASK_MAX)
  .regex(/^[A-Za-z][\w.:-]*$/, 'must be letters, digits, and any of . : _ -')
const idSchema = plainText(ID_MAX)

const callable = z.custom<never>((value) => typeof value === 'function', 'must be a function')

const definitionSchema: z.ZodType<TaskDefinition> = z
  .strictObject({
    run: callable.exactOptional(),
    unit: callable.exactOptional(),
    recurrence: z
      .custom<Recurrence>(
        (value) =>
          typeof value === 'object' &&
          value !== null &&
          typeof (value as Partial<Recurrence>).next === 'function' &&
          typeof (value as Partial<Recurrence>).rule === 'string',
        'a recurrence is { rule, next }'
      )
      .exactOptional(),
    misfire: misfireSchema.exactOptional(),
    jitterMs: z.int().min(0).max(86_400_000).exactOptional(),
    attemptsMax: z.int().min(1).max(1_000).exactOptional(),
    timeoutMs: z.int().min(1).max(86_400_000).exactOptional(),
    backoff: backoffSchema.exactOptional()
  })
  .check(({ value, issues }) => {
    const refuse = (path: string, message: string): void => {
      issues.push({ code: 'custom', input: value, path: [path], message })
    }
    if ((value.run === undefined) === (value.unit === undefined)) refuse('run', 'a task has either run or unit')
    if ((value.recurrence === undefined) !== (value.misfire === undefined)) {
      refuse('misfire', 'belongs to a recurrence, and a recurrence needs it')
    }
    if (value.recurrence === undefined && value.jitterMs !== undefined) refuse('jitterMs', 'belongs to a recurrence')
    if (value.unit !== undefined && value.timeoutMs !== undefined) refuse('timeoutMs', 'belongs to run')
  }) as never

export const tasksSchema: z.ZodType<{ readonly [name: string]: TaskDefinition }> = z
  .record(nameSchema, definitionSchema)
  .refine((tasks) => Object.keys(tasks).length > 0, 'there must be at least one')

export const newTaskSchema: z.ZodType<NewTask> = z.strictObject({
  task: nameSchema,
  id: idSchema,
  dueAt: instantSchema,
  // Looked at where it is written.
  payload: z.custom<JsonValue>(() => true).exactOptional()
})

export const taskRefSchema: z.ZodType<TaskRef> = z.strictObject({ task: nameSchema, id: idSchema.exactOptional() })

/** A definition with its defaults. */
export interface Task {
  readonly name: string
  readonly definition: TaskDefinition
  readonly recurrence: { readonly recurrence: Recurrence; readonly misfire: Misfire } | undefined
  readonly jitterMs: number
  readonly attemptsMax: number
  readonly timeoutMs: number
  readonly backoff: Backoff
}

export function taskOf(name: string, definition: TaskDefinition): Task {
  const { recurrence, misfire, jitterMs = 0, attemptsMax = ATTEMPTS_MAX, backoff = BACKOFF } = definition
  return {
    name,
    definition,
    recurrence:
      recurrence === undefined || misfire === undefined ? undefined : { recurrence, misfire: later(misfire, jitterMs) },
    jitterMs,
    attemptsMax,
    timeoutMs: 'run' in definition ? (definition.timeoutMs ?? TIMEOUT_MS) : TIMEOUT_MS,
    backoff
  }
}

/** Whether the task's effect is part of a unit. */
export function isUnit({ definition }: Task): boolean {
  return 'unit' in definition
}

/** What jitter puts off is not late. */
function later(misfire: Misfire, jitterMs: number): Misfire {
  return misfire.policy === 'all'
    ? { policy: 'all', catchUpMs: misfire.catchUpMs + jitterMs }
    : { policy: misfire.policy, graceMs: misfire.graceMs + jitterMs }
}

/** The key of a run. Names hold no slash, so that no two are the same. */
export function keyOf({ task, id }: TaskRef): string {
  return id === undefined ? task : `${task}/${id}`
}

/** The reverse of `keyOf`. */
export function refOf(key: string): TaskRef {
  const slash = key.indexOf('/')
  return slash === -1 ? { task: key } : { task: key.slice(0, slash), id: key.slice(slash + 1) }
}
