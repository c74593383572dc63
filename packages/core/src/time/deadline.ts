import { CoreError } from '../failure/core-error.ts'
import type { Clock } from './clock.ts'

/** A moment on the monotonic clock by which something must be done, however the wall clock jumps meanwhile. */
export interface Deadline {
  /** Milliseconds left, never negative. */
  remainingMs(): number
  expired(): boolean
}

/** A deadline `durationMs` from now. Throws `INVALID_DURATION` for a negative or non-finite duration. */
export function deadlineAfter(clock: Clock, durationMs: number): Deadline {
  if (!Number.isFinite(durationMs) || durationMs < 0) {
    throw new CoreError('INVALID_DURATION', `a deadline ${durationMs} ms from now is not in the future`, {
      count: durationMs,
      unit: 'milliseconds'
    })
  }
  const endsAt = clock.monotonic() + durationMs
  return {
    remainingMs: () => Math.max(0, endsAt - clock.monotonic()),
    expired: () => clock.monotonic() >= endsAt
  }
}
