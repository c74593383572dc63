import { isSuiteError } from '../failure/suite-error.ts'
import type { Platform } from '../platform.ts'
import { backoffMs } from '../resilience/backoff.ts'
import { createTokenBucket } from '../resilience/token-bucket.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { type Reading, read } from '../time/reckoning.ts'
import { createAnswers } from './answers.ts'
import type { Duty, DutyRunOptions, DutyStatus } from './duty.ts'
import { createHolds, type Hold } from './hold.ts'
import type { ScheduleEvent } from './schedule-event.ts'
import { isUnit, type Task, type UnitTask } from './task.ts'
import { type ClaimedTask, createTaskClaims, type Room } from './task-claims.ts'
import type { TaskRows } from './task-rows.ts'

/** What a schedule's duty is made from. */
export interface TaskDutyOptions {
  readonly name: string
  readonly db: SqlDatabase
  readonly rows: TaskRows
  readonly tasks: ReadonlyMap<string, Task>
  readonly platform: Platform
  readonly concurrency: number
  readonly leaseMs: number
  readonly startsPerSecondMax: number | undefined
  readonly report: (event: ScheduleEvent) => void
}

/** Tasks that one unit ends: by then round trips and syncs cost next to nothing for each, and a unit is still some 5 ms. */
const BATCH = 512

/** Units under way at the same time, so that one is prepared while another commits. */
const BATCHES_MAX = 2

/** How often a busy schedule looks for more, besides when there is room again. */
const LOOK_MS = 1_000

/** The pause for tasks that a store's fault kept from being done, which is not their fault. */
const STORE_PAUSE_MS = 1_000

/** Characters of an error's name and code that are kept. */
const ERROR_LENGTH_MAX = 128

/** Claims tasks no faster than it can begin them, does them, and ends their claims. */
export function taskDuty(options: TaskDutyOptions): Duty {
  const { name, db, rows, tasks, platform, concurrency, leaseMs, startsPerSecondMax, report } = options
  const { clock, random } = platform
  const claims = createTaskClaims({ dialect: db.dialect, rows, tasks, leaseMs })
  const paceBurst = Math.max(1, Math.ceil(startsPerSecondMax ?? 1))
  const pace =
    startsPerSecondMax === undefined
      ? undefined
      : createTokenBucket({ perSecond: startsPerSecondMax, burst: paceBurst, platform })

  const running = new Set<Hold>()
  let batches = 0
  let ended = 0
  let armed = false
  /** By the store's clock. */
  let wholeLookAt = 0
  let status: DutyStatus | undefined
  let closing: DutyRunOptions = { signal: new AbortController().signal }
  let stirred = false
  let endPause: (() => void) | undefined

  const stir = (): void => {
    stirred = true
    endPause?.()
  }
  const holds = createHolds({ clock, leaseMs, report, onDue: () => answers.extend() })
  const answers = createAnswers({
    db,
    claims: claims.answering,
    rows,
    holds,
    leaseMs,
    platform,
    report,
    onEnded(hold) {
      if (!holds.all.has(hold)) return
      holds.remove(hold)
      ended += 1
      if (hold.suspect || isIdle()) stir()
    }
  })

  /** Everything that is claimed is held, until its claim has ended and it is no longer being done. */
  const isIdle = (): boolean => holds.all.size === 0 && running.size === 0 && batches === 0

  const holdOf = ({ task, due, key, suspect, next }: ClaimedTask, askedAt: Reading): Hold => ({
    key,
    fence: due.fence,
    task,
    due,
    suspect,
    next:
      next === undefined
        ? undefined
        : { dueAt: next, claimableAt: next + (task.jitterMs === 0 ? 0 : random.below(task.jitterMs + 1)) },
    controller: isUnit(task) ? undefined : new AbortController(),
    askedAt,
    extended: true,
    endsAt: clock.monotonic() + task.timeoutMs,
    lost: false,
    unknown: false
  })

  /** What becomes of an attempt that failed. */
  const failed = (hold: Hold, error: unknown): void => {
    const { task, due } = hold
    const { attempt, id } = due
    // It failed because it was told to stop: no fault of its own.
    if (closing.cutoff?.aborted === true && hold.controller?.signal.reason === closing.cutoff.reason) {
      return answers.give({ hold, kind: 'again', delayMs: 0, uncounted: true })
    }
    const isLast = attempt >= task.attemptsMax
    const retryInMs = isLast ? undefined : Math.ceil(backoffMs(task.backoff, attempt, task.backoff.baseMs, random))
    report({ type: 'task.failed', id, task: task.name, attempt, error, retryInMs })
    if (retryInMs !== undefined) return answers.give({ hold, kind: 'again', delayMs: retryInMs, uncounted: false })
    answers.give({ hold, kind: 'given-up', givenUp: { attempts: attempt, reason: 'failed', error: nameOf(error) } })
  }

  const runEffect = async (hold: Hold): Promise<void> => {
    const { definition } = hold.task
    const signal = hold.controller?.signal
    if (!('run' in definition) || signal === undefined) return
    running.add(hold)
    try {
      await definition.run({ ...hold.due, signal })
      answers.give({ hold, kind: 'done' })
    } catch (error) {
      failed(hold, error)
    } finally {
      running.delete(hold)
      stir()
    }
  }

  /** Ends tasks and does what they are for, in one unit. */
  const runUnit = async (group: readonly Hold[], definition: UnitTask): Promise<void> => {
    for (const hold of group) hold.extended = false
    try {
      const own = await db.run(function* () {
        const held = yield* answers.done(group)
        const dues = group.flatMap(({ key, due }) => (held.has(key) ? [due] : []))
        if (dues.length > 0) yield* definition.unit(dues)
        return held
      })
      for (const hold of group) {
        if (!own.has(hold.key)) holds.lose(hold, 'taken')
        holds.remove(hold)
        ended += 1
      }
    } catch (error) {
      if (isStoreFault(error)) {
        report({ type: 'schedule.failed', operation: 'answer', error })
        for (const hold of group) {
          hold.unknown = isSuiteError(error, 'COMMIT_UNKNOWN')
          answers.give({ hold, kind: 'again', delayMs: STORE_PAUSE_MS, uncounted: true })
        }
      } else if (group.length > 1) {
        for (const hold of group) await runUnit([hold], definition)
      } else for (const hold of group) failed(hold, error)
    }
  }

  const runBatch = async (batch: readonly Hold[]): Promise<void> => {
    batches += 1
    const groups = Map.groupBy(batch, ({ task }) => task)
    for (const [{ definition }, group] of groups) {
      group.sort((one, other) => one.due.dueAt - other.due.dueAt)
      if ('unit' in definition) await runUnit(group, definition)
    }
    if (pace === undefined && batch.length === BATCH) await burst()
    batches -= 1
    stir()
  }

  /**
   * Clears a backlog: takes single runs, does them and removes them in one unit each batch, without claiming them first. A
   * process that dies over one of them leaves no trace on it. But as that one is then the longest due, it is in the first
   * batch of whoever starts next, and first batches are claimed. So does a batch that fails end the burst, and is claimed.
   */
  const burst = async (): Promise<void> => {
    try {
      while (!closing.signal.aborted) {
        const taken = await db.run(takeBatch)
        ended += taken
        if (taken < BATCH) return
      }
    } catch (error) {
      if (isStoreFault(error)) report({ type: 'schedule.failed', operation: 'claim', error })
    }
  }

  function* takeBatch(): Sql<number> {
    const taken = yield* claims.take(BATCH)
    for (const [name, group] of Map.groupBy(taken, ({ task }) => task)) {
      const definition = tasks.get(name)?.definition
      if (definition !== undefined && 'unit' in definition) yield* definition.unit(group)
    }
    return taken.length
  }

  const begin = (claimed: readonly ClaimedTask[], askedAt: Reading): void => {
    const batch: Hold[] = []
    const usable = holds.isUsable(askedAt)
    for (const one of claimed) {
      const hold = holdOf(one, askedAt)
      const { attempt } = hold.due
      holds.add(hold)
      if (!usable || closing.signal.aborted) {
        answers.give({ hold, kind: 'again', delayMs: 0, uncounted: true })
      } else if (attempt > hold.task.attemptsMax) {
        answers.give({ hold, kind: 'given-up', givenUp: { attempts: attempt - 1, reason: 'died', error: undefined } })
      } else if (one.fault !== undefined) failed(hold, one.fault)
      else if (!isUnit(hold.task)) void runEffect(hold)
      else if (hold.suspect) void runBatch([hold])
      else batch.push(hold)
    }
    if (batch.length > 0) void runBatch(batch)
  }

  /** One suspect at a time, so that what kills its process takes no other suspect down with it. */
  const holdsSuspect = (): boolean => {
    for (const hold of holds.all) if (hold.suspect && !hold.lost) return true
    return false
  }

  const roomNow = (): Room => {
    const allowed = pace === undefined ? Number.POSITIVE_INFINITY : Math.floor(pace.tokens)
    const slots = Math.min(concurrency - running.size, allowed)
    return {
      effects: slots,
      units: batches < BATCHES_MAX ? Math.min(BATCH, allowed) : 0,
      // Whatever slots are free: fresh tasks take each one as soon as it is.
      suspect: allowed > 0 && !holdsSuspect()
    }
  }

  /** While there is plenty to do, the rest is looked at now and then. */
  const wantsWhole = (at: number): boolean => at - wholeLookAt >= LOOK_MS || at < wholeLookAt

  /** Claims what there is room for. Gives for how long nothing more can be begun; 0 when there may be more at once. */
  const lookOnce = async (): Promise<number> => {
    const room = roomNow()
    const askedAt = read(clock)
    const { at, full, claimed, missed, outlook, setAside } = await db.run(() => claims.look(room, wantsWhole))
    if (outlook !== undefined) wholeLookAt = at
    status = { lagMs: outlook?.lagMs ?? status?.lagMs ?? 0, setAside: setAside ?? status?.setAside ?? 0 }
    for (const event of missed) report(event)
    // Each lane may have filled the allowance: what is beyond it is owed.
    for (let owed = claimed.length; owed > 0; owed -= paceBurst) pace?.reserve(Math.min(owed, paceBurst))
    begin(claimed, askedAt)
    if (pace !== undefined && startsPerSecondMax !== undefined && pace.tokens < 1) return 1_000 / startsPerSecondMax
    if (!full) return outlook?.nextDueInMs ?? Number.POSITIVE_INFINITY
    const left = roomNow()
    return left.effects > 0 || left.units > 0 ? 0 : LOOK_MS
  }

  /** Ends after `delayMs`, or when something has happened that a look should follow. */
  const pause = (delayMs: number): Promise<void> =>
    new Promise((resolve) => {
      if (stirred) return resolve()
      const end = (): void => {
        timer.cancel()
        closing.signal.removeEventListener('abort', end)
        endPause = undefined
        resolve()
      }
      const timer = clock.startTimer(delayMs, end, { background: true })
      closing.signal.addEventListener('abort', end, { once: true })
      endPause = end
    })

  const cutOff = (): void => {
    for (const hold of holds.all) hold.controller?.abort(closing.cutoff?.reason)
  }

  return {
    name,
    async run(given) {
      closing = given
      const { signal, cutoff } = given
      cutoff?.addEventListener('abort', cutOff, { once: true })
      const endedBefore = ended
      try {
        if (!armed) armed = (await db.run(() => rows.arm([...tasks.values()]), { signal })) === 'armed'
        for (;;) {
          stirred = false
          let waitMs = Number.POSITIVE_INFINITY
          if (!signal.aborted) {
            waitMs = await lookOnce().catch((error: unknown) => {
              if (isIdle()) throw error
              report({ type: 'schedule.failed', operation: 'claim', error })
              return LOOK_MS
            })
          }
          // What was stirred up during the look, it may have missed.
          if (isIdle() && (signal.aborted || (waitMs > 0 && !stirred))) {
            return { handled: ended - endedBefore, nextDueInMs: waitMs }
          }
          if (waitMs > 0) await pause(signal.aborted ? LOOK_MS : Math.min(LOOK_MS, waitMs))
        }
      } finally {
        cutoff?.removeEventListener('abort', cutOff)
      }
    },
    wake: stir,
    status: () => status
  }
}

/** Whether the store failed, rather than what the unit did in it. */
function isStoreFault(error: unknown): boolean {
  return (
    isSuiteError(error, 'STORE_UNAVAILABLE') ||
    isSuiteError(error, 'COMMIT_UNKNOWN') ||
    isSuiteError(error, 'OVERLOADED') ||
    isSuiteError(error, 'CLOSED')
  )
}

/** Of an error only what names it: its message may quote a URL with a key in it. */
function nameOf(error: unknown): string {
  const name = error instanceof Error ? error.name : typeof error
  return (isSuiteError(error) ? `${name} ${error.code}` : name)
    .slice(0, ERROR_LENGTH_MAX)
    .replaceAll('\0', '')
    .toWellFormed()
}
