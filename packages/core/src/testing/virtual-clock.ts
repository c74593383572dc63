import { CoreError } from '../failure/core-error.ts'
import { type Clock, refuseNaN, type Timer } from '../time/clock.ts'

/** A clock that stands still until a test moves it. */
export interface VirtualClock extends Clock {
  /**
   * Moves monotonic and wall time `durationMs` ahead together. Every timer that falls due fires at its own instant, in
   * the order of their instants, those of one instant in the order they were started; timers started on the way fire
   * too when they fall due before the end.
   *
   * Before the first timer, after each and at the end, the event loop turns 32 times (`setImmediate`), each turn with
   * all its microtasks: promise chains settle, and so does whatever hands over through `setImmediate`, such as the
   * SQLite driver's group commit (one turn or two a unit). What takes real time (a server, a thread, a file) is not
   * waited for: await the call itself.
   *
   * Calls that overlap run one after the other. Throws `INVALID_DURATION` for a negative or non-finite duration.
   */
  advance(durationMs: number): Promise<void>
  /** Sets the wall clock alone, either way, as an operator or NTP would; monotonic time stays and no timer fires. */
  jumpWallTo(epochMs: number): void
  /** Timers started, not cancelled and not yet fired. 0 at the end of a test shows that nothing leaks. */
  readonly pendingTimers: number
}

/** Where the wall clock starts unless told otherwise: 2026-01-01T00:00:00Z. */
const START_AT = 1_767_225_600_000

/** A handful of group commits in a row settle within this; 32 empty turns cost some 30 µs. */
const SETTLE_TURNS = 32

/** Taken when the module loads, so that a test framework's fake timers cannot hold the virtual clock up. */
const nextTurn = setImmediate

interface Alarm {
  readonly dueAt: number
  readonly onElapsed: () => void
}

/** A virtual clock whose wall shows `now` (epoch milliseconds; 2026-01-01T00:00:00Z unless given). */
export function virtualClock(options: { readonly now?: number } = {}): VirtualClock {
  const { now = START_AT } = options
  // Insertion order is the order of start, which breaks ties between equal instants.
  const alarms = new Set<Alarm>()
  let monotonicMs = 0
  let wallAheadMs = instant(now)
  let moving = Promise.resolve()

  const earliest = (untilMs: number): Alarm | undefined => {
    let found: Alarm | undefined
    for (const alarm of alarms) {
      if (alarm.dueAt <= untilMs && (found === undefined || alarm.dueAt < found.dueAt)) found = alarm
    }
    return found
  }

  const move = async (durationMs: number): Promise<void> => {
    await settle()
    const untilMs = monotonicMs + durationMs
    for (let alarm = earliest(untilMs); alarm !== undefined; alarm = earliest(untilMs)) {
      alarms.delete(alarm)
      monotonicMs = Math.max(monotonicMs, alarm.dueAt)
      alarm.onElapsed()
      await settle()
    }
    monotonicMs = untilMs
    await settle()
  }

  return {
    now: () => Math.floor(monotonicMs + wallAheadMs),
    monotonic: () => monotonicMs,
    startTimer(delayMs, onElapsed): Timer {
      refuseNaN(delayMs)
      const alarm = { dueAt: monotonicMs + Math.max(0, delayMs), onElapsed }
      alarms.add(alarm)
      return { cancel: () => void alarms.delete(alarm) }
    },
    advance(durationMs) {
      if (!Number.isFinite(durationMs) || durationMs < 0) {
        throw new CoreError('INVALID_DURATION', `a clock cannot advance by ${durationMs} ms`, {
          count: durationMs,
          unit: 'milliseconds'
        })
      }
      const moved = moving.then(() => move(durationMs))
      // What a timer's callback throws goes to whoever awaits this call, and not to the next one.
      moving = moved.catch(() => {})
      return moved
    },
    jumpWallTo(epochMs) {
      wallAheadMs = instant(epochMs) - monotonicMs
    },
    get pendingTimers() {
      return alarms.size
    }
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < SETTLE_TURNS; turn++) await new Promise<void>((resolve) => nextTurn(resolve))
}

function instant(epochMs: number): number {
  if (Number.isSafeInteger(epochMs) && epochMs >= 0) return epochMs
  const issue = { path: 'now', message: `${epochMs} is not an instant in epoch milliseconds` }
  throw new CoreError('INVALID_OPTIONS', `the virtual clock refused its time: ${issue.message}`, {
    subject: 'virtualClock',
    issues: [issue]
  })
}
