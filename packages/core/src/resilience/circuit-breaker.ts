import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { withoutStack } from '../failure/without-stack.ts'
import { systemPlatform } from '../platform.ts'
import type { BreakerCause, BreakerEvent, BreakerOverride, BreakerState } from './breaker-event.ts'
import {
  BREAK_MAX_MS,
  BREAK_MS,
  type CircuitBreakerOptions,
  circuitBreakerOptions,
  RAMP_FROM_RATIO,
  SAMPLING_MS,
  tripOptions
} from './breaker-options.ts'
import { tripRule } from './breaker-rule.ts'
import type { BreakerSnapshot } from './breaker-snapshot.ts'
import { type CallVerdict, classifyError, classifyValue } from './classification.ts'
import { abortionOf, type CallOptions, callOf, gaveUp, type Policy, start, type Work } from './policy.ts'
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
  const parsed = parseOptions(circuitBreakerOptions, 'createCircuitBreaker', options)
  const { name, window: windowRule = { kind: 'time', samplingMs: SAMPLING_MS }, breakMs = BREAK_MS } = parsed
  const { breakMaxMs = Math.max(BREAK_MAX_MS, breakMs), probes = 1, probeFailuresMax = 0 } = parsed
  const { probeLeaseMs = breakMs, rampMs = 0, rampFromRatio = RAMP_FROM_RATIO } = parsed
  const { classification = {}, snapshot: from, platform = systemPlatform, observe } = parsed
  const { value: judgeValue = classifyValue, error: judgeError = classifyError } = classification
  const { clock } = platform
  const { window, exceeded, slowCallMs } = tripRule(windowRule, clock)

  let state: BreakerState = 'closed'
  let generation = 0
  // What the fast path reads. V8 reaches fields of an object in a third of the time of variables that closures change.
  const hot = {
    /** What every call gets while all are let through: one object for a whole generation, so that none is made per call. */
    shared: permitOf(generation, false),
    /** Whether `acquire` need not look any further. */
    free: true,
    /** Whether reports are counted. */
    counting: true,
    /** Whether the window of `metrics-only` exceeds a limit, which has been reported. */
    exceeding: false
  }
  let breaks = 0
  let openedForMs = 0
  let openUntil = 0
  let closedAt = Number.NEGATIVE_INFINITY
  let rampUntil = 0
  /** The ramp's share of calls, added up: each whole one is a call let through. */
  let rampCredit = 0
  /** Probes that have not reported, with the instant at which their lease ends. At most `probes`. */
  const leases = new Map<BreakerPermit, number>()
  let probesEnded = 0
  let probesBad = 0
  let rejected = 0
  let ignored = 0
  let late = 0

  const report = (event: BreakerEvent): void => {
    try {
      observe?.(event)
    } catch {
      // Promised in the options: there is nowhere to report that reporting failed.
    }
  }

  const totals = (): WindowTotals => ({ calls: window.calls, failures: window.failures, slow: window.slow })

  const enter = (next: BreakerState): void => {
    state = next
    generation += 1
    hot.shared = permitOf(generation, false)
    hot.free = next === 'closed' || next === 'metrics-only' || next === 'disabled'
    hot.counting = next !== 'disabled'
    leases.clear()
    hot.exceeding = false
    reactions = reactionsOf(hot.shared)
  }

  const open = (cause: BreakerCause, forMs = Number.POSITIVE_INFINITY): void => {
    const now = clock.monotonic()
    const calm = state === 'closed' && now - closedAt >= openedForMs
    breaks = calm ? 1 : breaks + 1
    // 2 ** 1,024 is Infinity, and the smaller of the two is still the bound.
    openedForMs = Math.min(breakMaxMs, forMs === Number.POSITIVE_INFINITY ? breakMs * 2 ** (breaks - 1) : forMs)
    openUntil = now + openedForMs
    enter('open')
    report({ type: 'breaker.opened', breaker: name, cause, breakMs: openedForMs, breaks, window: totals() })
  }

  const halfOpen = (): void => {
    enter('half-open')
    probesEnded = 0
    probesBad = 0
    report({ type: 'breaker.half-opened', breaker: name })
  }

  const close = (cause: 'probe' | 'reset'): void => {
    window.clear()
    enter('closed')
    closedAt = clock.monotonic()
    if (cause === 'probe' && rampMs > 0) {
      hot.free = false
      rampUntil = closedAt + rampMs
      // The first call after closing is let through, whatever the share.
      rampCredit = 1 - rampFromRatio
    }
    report({ type: 'breaker.closed', breaker: name, cause })
  }

  const reject = (reason: BreakerRejection['reason'], retryAfterMs: number): BreakerRejection => {
    rejected += 1
    return { outcome: 'rejected', reason, retryAfterMs }
  }

  const reclaim = (now: number): void => {
    for (const [permit, leaseEndsAt] of leases) {
      if (now < leaseEndsAt) continue
      leases.delete(permit)
      report({ type: 'breaker.probe-reclaimed', breaker: name, leaseMs: probeLeaseMs })
    }
  }

  const probe = (now: number): BreakerPermit | BreakerRejection => {
    reclaim(now)
    if (leases.size + probesEnded >= probes) return reject('probing', Math.min(...leases.values()) - now)
    const permit = permitOf(generation, true)
    leases.set(permit, now + probeLeaseMs)
    return permit
  }

  const ramp = (now: number): BreakerPermit | BreakerRejection => {
    if (now >= rampUntil) {
      hot.free = true
      return hot.shared
    }
    rampCredit += rampFromRatio + (1 - rampFromRatio) * (1 - (rampUntil - now) / rampMs)
    if (rampCredit < 1) return reject('ramping', rampUntil - now)
    rampCredit -= 1
    return hot.shared
  }

  const look = (now: number): void => {
    if (state === 'open' && now >= openUntil) halfOpen()
  }

  /** `acquire` when not all are let through. */
  const admit = (): BreakerPermit | BreakerRejection => {
    const now = clock.monotonic()
    look(now)
    if (state === 'half-open') return probe(now)
    if (state === 'open') return reject('open', openUntil - now)
    return state === 'closed' ? ramp(now) : reject('forced-open', breakMs)
  }

  /** A report of this generation, from a call that was no probe. */
  const record = (failed: boolean, durationMs: number | undefined): void => {
    if (!hot.counting) return
    if (window.record(failed, durationMs !== undefined && durationMs >= slowCallMs)) examine()
    else if (hot.exceeding) hot.exceeding = false
  }

  const examine = (): void => {
    const cause = exceeded()
    if (cause !== undefined && state !== 'metrics-only') return open(cause)
    if (cause !== undefined && !hot.exceeding) {
      report({ type: 'breaker.limit-exceeded', breaker: name, cause, window: totals() })
    }
    hot.exceeding = cause !== undefined
  }

  /** Any other report: of a probe, or of a generation that has passed. */
  const recordApart = (permit: BreakerPermit, bad: boolean): void => {
    if (!leases.delete(permit)) {
      late += 1
      return
    }
    probesEnded += 1
    if (bad) probesBad += 1
    if (probesBad > probeFailuresMax) open('probe')
    else if (probesEnded === probes) close('probe')
  }

  const succeed = (permit: BreakerPermit, durationMs?: number): void => {
    if (permit === hot.shared) record(false, durationMs)
    else recordApart(permit, durationMs !== undefined && durationMs >= slowCallMs)
  }

  const fail = (permit: BreakerPermit, durationMs?: number): void => {
    if (permit === hot.shared) record(true, durationMs)
    else recordApart(permit, true)
  }

  const release = (permit: BreakerPermit): void => {
    if (permit !== hot.shared && !leases.delete(permit)) late += 1
    else ignored += 1
  }

  const settle = (permit: BreakerPermit, verdict: CallVerdict, durationMs: number | undefined): void => {
    if (verdict === 'success') succeed(permit, durationMs)
    else if (verdict === 'failure') fail(permit, durationMs)
    else release(permit)
  }

  const timed = slowCallMs !== Number.POSITIVE_INFINITY

  /** What is done when the work ends. The permit is reported even when a judge throws, or a probe would leak. */
  const reactionsOf = (permit: BreakerPermit, startedAt?: number, options?: CallOptions) => {
    const settleBy = (judge: (end: unknown) => CallVerdict, end: unknown): void => {
      let verdict: CallVerdict = 'ignored'
      try {
        verdict = judge(end)
      } finally {
        settle(permit, verdict, startedAt === undefined ? undefined : clock.monotonic() - startedAt)
      }
    }
    return {
      onValue: <T>(value: T): T => {
        settleBy(judgeValue, value)
        return value
      },
      onError: (error: unknown): never => {
        if (gaveUp(options)) release(permit)
        else settleBy(judgeError, error)
        throw error
      }
    }
  }
  /** Those of calls without a signal or timing, alike for a whole generation. */
  let reactions = reactionsOf(hot.shared)

  if (from !== undefined) {
    const sinceMs = Math.max(0, clock.now() - from.takenAt)
    breaks = from.breaks
    if (from.state !== 'closed') enter(from.state)
    if (from.state === 'open' || from.state === 'half-open') {
      openedForMs = Math.min(breakMaxMs, breakMs * 2 ** Math.max(0, breaks - 1))
      openUntil = clock.monotonic() + Math.min(breakMaxMs, Math.max(0, from.breakLeftMs - sinceMs))
    }
    window.restore(from.window, sinceMs)
  }

  const breaker: Omit<CircuitBreaker, 'state'> = {
    name,
    acquire: () => (hot.free ? hot.shared : admit()),
    succeed,
    fail,
    release,
    execute<T>(work: Work<T>, options?: CallOptions): Promise<T> {
      const abortion = abortionOf(options)
      if (abortion?.aborted === true) return Promise.reject(abortion.reason)
      const permit = hot.free ? hot.shared : admit()
      if (permit.outcome === 'rejected') return Promise.reject(circuitOpen(name, permit))
      const simple = options === undefined && !timed && permit === hot.shared
      const { onValue, onError } = simple
        ? reactions
        : reactionsOf(permit, timed ? clock.monotonic() : undefined, options)
      return start(work, callOf(options)).then(onValue, onError)
    },
    stateAt: (monotonicMs) => (state === 'open' && monotonicMs >= openUntil ? 'half-open' : state),
    stats() {
      if (hot.free || state === 'closed') window.refresh()
      return { state, generation, window: totals(), breaks, rejected, ignored, late }
    },
    snapshot() {
      const breakLeftMs = state === 'open' ? Math.max(0, openUntil - clock.monotonic()) : 0
      return { version: 1, takenAt: clock.now(), state, breakLeftMs, breaks, window: window.slices() }
    },
    trip(options = {}) {
      const { breakMs: forMs } = parseOptions(tripOptions, 'circuitBreaker.trip', options)
      if (state !== 'open' || clock.monotonic() >= openUntil) open('tripped', forMs)
    },
    reset() {
      breaks = 0
      close('reset')
    },
    switchTo(override) {
      window.clear()
      enter(override)
      report({ type: 'breaker.switched', breaker: name, to: override })
    }
  }
  // A getter in the literal would make V8 give up on the methods beside it, which is 4 ns a pair.
  return Object.defineProperty(breaker, 'state', {
    enumerable: true,
    get() {
      if (state === 'open') look(clock.monotonic())
      return state
    }
  }) as CircuitBreaker
}

const permitOf = (generation: number, probe: boolean): BreakerPermit => ({ outcome: 'permitted', generation, probe })

function circuitOpen(breaker: string, rejection: BreakerRejection): CoreError<'CIRCUIT_OPEN'> {
  const { reason, retryAfterMs } = rejection
  const message = `the circuit breaker ${breaker} let nothing through (${reason}); ask again in ${Math.ceil(retryAfterMs)} ms`
  return withoutStack(() => new CoreError('CIRCUIT_OPEN', message, { breaker, reason, retryAfterMs }))
}
