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
   * Calls `onElapsed` once, `delayMs` of monotonic time from now. Delays of any length work (Node's own timer fires at
   * once beyond 2^31 - 1 ms). A `background` timer does not keep the process alive; the others do, because something
   * awaits them.
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
    const dueAt = performance.now() + delayMs
    let native: ReturnType<typeof setTimeout>
    const wait = (): void => {
      const remainingMs = dueAt - performance.now()
      if (remainingMs > NATIVE_DELAY_MAX_MS) native = setTimeout(wait, NATIVE_DELAY_MAX_MS)
      else native = setTimeout(onElapsed, Math.max(0, remainingMs))
      if (options?.background === true) detach(native)
    }
    wait()
    return { cancel: () => clearTimeout(native) }
  }
}

/** Lets the process end although the timer runs. Browsers have no such notion: their handles are numbers. */
function detach(native: unknown): void {
  if (typeof native === 'object' && native !== null && 'unref' in native) (native as { unref(): void }).unref()
}
