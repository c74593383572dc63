import { CoreError } from '../failure/core-error.ts'
import type { Clock, Timer } from '../time/clock.ts'
import { elapsedSince, type Reading } from '../time/reckoning.ts'
import type { HeldRow } from './due-claims.ts'
import type { ScheduleEvent } from './schedule-event.ts'
import type { DueTask, Task } from './task.ts'

/** A task that this process has claimed. */
export interface Hold extends HeldRow {
  readonly task: Task
  readonly due: DueTask
  /** Whether earlier holders died over it. */
  readonly suspect: boolean
  /** Where a recurrence goes on: the instant, and when it may be claimed; undefined for a single run and after the last. */
  readonly next: { readonly dueAt: number; readonly claimableAt: number } | undefined
  /** Of an effect: a unit cannot be interrupted. */
  readonly controller: AbortController | undefined
  /** When the store was last asked for a lease that it gave. */
  askedAt: Reading
  /** Whether the lease is extended: until the attempt's time is over, and not while a unit ends it. */
  extended: boolean
  /** Monotonic time at which the attempt's time is over. */
  readonly endsAt: number
  lost: boolean
  /** Whether the reply to the unit that answered for it was lost: that the store then knows no claim means nothing. */
  unknown: boolean
}

/** The share of a lease, at its end, during which nothing is done with it any more: drift, late timers, calls on their way. */
const MARGIN_RATIO = 0.1
/** Two failures of the store in a row still leave time for a third try. */
const EXTENSION_RATIO = 1 / 3
/** The longest that a sleep of the machine goes unnoticed after waking. */
const LOOK_MAX_MS = 1_000
/** Below a clock's step. */
const NOTHING_MS = 0.001

/** The claims that this process holds. */
export interface Holds {
  readonly all: ReadonlySet<Hold>
  add(hold: Hold): void
  remove(hold: Hold): void
  /** Those whose leases should be extended now. */
  due(): Hold[]
  /** Whether a lease asked for at `askedAt` may still be used. */
  isUsable(askedAt: Reading): boolean
  lose(hold: Hold, reason: Extract<ScheduleEvent, { type: 'task.lost' }>['reason']): void
}

/**
 * Watches over claims with one timer: tells a task by its signal that its lease or its time is over, and `onDue` that
 * leases want extending. Time counts from before the store was asked, by whichever clock says more, so that a holder
 * stops before the store gives the task to anybody else.
 */
export function createHolds(options: {
  readonly clock: Clock
  readonly leaseMs: number
  readonly onDue: () => void
  readonly report: (event: ScheduleEvent) => void
}): Holds {
  const { clock, leaseMs, onDue, report } = options
  const usableMs = leaseMs - Math.ceil(leaseMs * MARGIN_RATIO)
  const lookMs = Math.min(LOOK_MAX_MS, Math.max(1, (leaseMs * MARGIN_RATIO) / 2))
  const all = new Set<Hold>()
  let timer: Timer | undefined

  const lose: Holds['lose'] = (hold, reason) => {
    if (hold.lost) return
    hold.lost = true
    hold.extended = false
    const { key, fence, due, task } = hold
    const heldMs = Math.max(0, Math.round(elapsedSince(hold.askedAt, clock).ms))
    hold.controller?.abort(
      new CoreError('LOCK_LOST', `the lease of ${key} was lost: ${reason}`, { lock: key, fence, heldMs })
    )
    report({ type: 'task.lost', id: due.id, task: task.name, fence, reason })
  }

  const isDue = (hold: Hold): boolean =>
    hold.extended && elapsedSince(hold.askedAt, clock).ms >= leaseMs * EXTENSION_RATIO

  const look = (): void => {
    timer?.cancel()
    let nextMs = lookMs
    let extend = false
    for (const hold of all) {
      const { ms, monotonicMs } = elapsedSince(hold.askedAt, clock)
      if (usableMs - ms < NOTHING_MS) lose(hold, usableMs - monotonicMs < NOTHING_MS ? 'expired' : 'suspended')
      const leftMs = hold.endsAt - clock.monotonic()
      if (leftMs < NOTHING_MS) overrun(hold, -leftMs)
      else nextMs = Math.min(nextMs, leftMs)
      extend ||= isDue(hold)
    }
    timer = all.size > 0 ? clock.startTimer(nextMs, look, { background: true }) : undefined
    if (extend) onDue()
  }

  return {
    all,
    add(hold) {
      all.add(hold)
      if (all.size === 1 || hold.task.timeoutMs < lookMs) look()
    },
    remove(hold) {
      all.delete(hold)
      if (all.size > 0) return
      timer?.cancel()
      timer = undefined
    },
    due: () => [...all].filter(isDue),
    isUsable: (askedAt) => usableMs - elapsedSince(askedAt, clock).ms >= NOTHING_MS,
    lose
  }
}

/** Tells a task that its time is over, and lets its lease run out if it does not heed that. */
function overrun(hold: Hold, lateMs: number): void {
  if (hold.controller?.signal.aborted !== false) return
  hold.extended = false
  const { timeoutMs } = hold.task
  const message = `${hold.due.id} had not ended after ${timeoutMs} ms`
  hold.controller?.abort(new CoreError('TIMED_OUT', message, { timeoutMs, lateMs: Math.max(0, lateMs) }))
}
