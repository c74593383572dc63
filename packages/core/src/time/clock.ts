import { CoreError } from '../failure/core-error.ts'

/** A started timer. */
export interface Timer {
  /** Stops it; harmless when it has already fired. */
  cancel(): void
}

/**
 * Two clocks and an alarm. Wall time is for stored instants and may jump either way; monotonic time is for durations
 * and never goes back. Mixing them up is the classic way to let a breaker stay open for an hour.
 */
export interface Clock {
  /** Wall time: milliseconds since the Unix epoch, an integer. */
  now(): number
  /** Monotonic time in milliseconds, with a fraction, from an arbitrary origin. */
  monotonic(): number
  /**
   * Calls `onElapsed` once, `delayMs` of monotonic time from now: never early, never during this call, and on the next
   * turn of the event loop when the delay is not positive. Delays of any length work (Node's own timer fires at once
   * beyond 2^31 - 1 ms). A `background` timer does not keep the process alive; the others do, because something awaits
   * them. Throws `INVALID_DURATION` for NaN.
   */
  startTimer(delayMs: number, onElapsed: () => void, options?: { readonly background?: boolean }): Timer
}

/** The longest delay that `setTimeout` takes without overflowing into an immediate one: 2^31 - 1 ms, 24.8 days. */
const NATIVE_DELAY_MAX_MS = 2_147_483_647

/** The machine's clocks and timers. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  startTimer(delayMs, onElapsed, options) {
    refuseNaN(delayMs)
    const dueAt = performance.now() + delayMs
    let native: ReturnType<typeof setTimeout>
    const arm = (remainingMs: number): void => {
      native = setTimeout(check, Math.min(NATIVE_DELAY_MAX_MS, Math.max(0, Math.ceil(remainingMs))))
      if (options?.background === true) detach(native)
    }
    // Looks at the clock again: the delay may have been cut, and Node's timers count whole milliseconds from a time read
    // at the start of the loop's turn, so that they fire up to 1 ms early. A deadline checked here must have passed.
    const check = (): void => {
      const remainingMs = dueAt - performance.now()
      if (remainingMs > 0) arm(remainingMs)
      else onElapsed()
    }
    arm(delayMs)
    return { cancel: () => clearTimeout(native) }
  }
}

/** Node takes a delay of NaN for 1 ms: a unit mix-up upstream would become a hot loop. */
export function refuseNaN(delayMs: number): void {
  if (!Number.isNaN(delayMs)) return
  throw new CoreError('INVALID_DURATION', 'a timer cannot wait for NaN ms', { count: delayMs, unit: 'milliseconds' })
}

/** Lets the process end although the timer runs. Browsers have no such notion: their handles are numbers. */
function detach(native: unknown): void {
  if (typeof native === 'object' && native !== null && 'unref' in native) (native as { unref(): void }).unref()
}
