import { parseOptions } from '../failure/options.ts'
import type { BreakerOverride, BreakerState } from './breaker-event.ts'
import { breakerOf } from './breaker-machine.ts'
import { type CircuitBreakerOptions, circuitBreakerOptions } from './breaker-options.ts'
import type { BreakerSnapshot } from './breaker-snapshot.ts'
import type { Policy } from './policy.ts'
import type { WindowTotals } from './rolling-window.ts'

/** Leave to call. It belongs to one generation of the breaker: what it reports later than that changes nothing. */
export interface BreakerPermit {
  readonly outcome: 'permitted'
  /** Counts the breaker's changes of state. */
  readonly generation: number
  /** One of the few calls on which a half-open breaker's fate depends. */
  readonly probe: boolean
}

/** No leave to call. */
export interface BreakerRejection {
  readonly outcome: 'rejected'
  /** `probing`: others are finding out. `ramping`: it has just closed, and this call is not of the share let through. */
  readonly reason: 'open' | 'probing' | 'ramping' | 'forced-open'
  /**
   * Asking earlier is in vain, and later may be too. What lasts until somebody ends it (`forced-open`) is worth asking
   * about once in a break's length.
   */
  readonly retryAfterMs: number
}

/** Plain counts, for gauges and counters that are read when they are collected. */
export interface BreakerStats {
  readonly state: BreakerState
  readonly generation: number
  /** The window; from opening to closing, the one that opened it. */
  readonly window: WindowTotals
  /** Breaks in a row. */
  readonly breaks: number
  /** Since it was made: calls refused, calls that ended without a verdict, reports of an older generation. */
  readonly rejected: number
  readonly ignored: number
  readonly late: number
}

/**
 * Keeps callers from a callee that does not answer. `execute` throws `CIRCUIT_OPEN`, without a stack, when it lets a call
 * not through. Where every nanosecond counts, or the work is a stream, take a permit and report how it went:
 *
 * ```ts
 * const leave = breaker.acquire()
 * if (leave.outcome === 'rejected') return answerWithout(leave.retryAfterMs)
 * try { … breaker.succeed(leave) } catch (error) { breaker.fail(leave); throw error }
 * ```
 *
 * Report every permit once, by `succeed`, `fail` or `release`. A probe that never reports is taken back when its lease
 * ends, and what it reports after that, or twice, changes nothing; another permit's second report counts as a call.
 */
export interface CircuitBreaker extends Policy {
  readonly name: string
  acquire(): BreakerPermit | BreakerRejection
  /** `durationMs` of monotonic time that the call took; without it the call was not slow. */
  succeed(permit: BreakerPermit, durationMs?: number): void
  fail(permit: BreakerPermit, durationMs?: number): void
  /** The call ended without evidence: its caller gave up, or its request was wrong. */
  release(permit: BreakerPermit): void
  /** As of now: a break that is over shows as `half-open`. Reading it then is what reports `breaker.half-opened`. */
  readonly state: BreakerState
  /** What `state` will be at a monotonic instant if nobody calls until then. Changes and reports nothing. */
  stateAt(monotonicMs: number): BreakerState
  stats(): BreakerStats
  snapshot(): BreakerSnapshot
  /**
   * Opens it, as if the window had: a health check failed, or another process found out, whose break has `breakMs` left
   * (at most `breakMaxMs` are kept). Ends an override; does nothing during a break.
   */
  trip(options?: { readonly breakMs?: number }): void
  /** Closes it with an empty window, as new, without a ramp. Ends an override. */
  reset(): void
  /** Imposes a state until `reset` or `trip`. The window starts empty. */
  switchTo(override: BreakerOverride): void
}

/** Throws `INVALID_OPTIONS`. */
export function createCircuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  return breakerOf(parseOptions(circuitBreakerOptions, 'createCircuitBreaker', options)).breaker
}
