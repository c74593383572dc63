import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { withoutStack } from '../failure/without-stack.ts'
import { systemPlatform } from '../platform.ts'
import type { BreakerCause, BreakerEvent, BreakerState } from './breaker-event.ts'
import {
  BREAK_MAX_MS,
  BREAK_MS,
  type CircuitBreakerOptions,
  RAMP_FROM_RATIO,
  SAMPLING_MS,
  tripOptions
} from './breaker-options.ts'
import { tripRule } from './breaker-rule.ts'
import type { BreakerPermit, BreakerRejection, CircuitBreaker } from './circuit-breaker.ts'
import { type CallVerdict, classifyError, classifyValue } from './classification.ts'
import { abortionOf, type CallOptions, callOf, gaveUp, start, type Work } from './policy.ts'
import type { WindowTotals } from './rolling-window.ts'

/** What a breaker asks and tells when it is one of several that stand for the same callee, in as many processes. */
export interface BreakerSharing {
  /** Asked when a probe could begin: 0 when it may, else after how many ms it is worth asking again. */
  holdMs(now: number): number
  /**
   * What the one call that was held and may wait waits for, until its signal aborts; undefined for all others. Does not
   * reject.
   */
  leave(options: CallOptions | undefined): Promise<void> | undefined
  /** It has changed by what happened in this process. `resumed`: an override has ended. */
  changed(to: 'opened' | 'closed' | 'reset' | 'resumed'): void
}

/** How whoever shares a breaker moves it. What is done here is not told back through `changed`. */
export interface BreakerControls {
  /** As `breaker.state`, without looking at the clock. */
  readonly state: BreakerState
  /** As `breaker.acquire`, for a call that can wait for leave to probe. Throws the reason of who gave up meanwhile. */
  admit(options: CallOptions | undefined): Promise<BreakerPermit | BreakerRejection>
  /** Of the break that it is in, or was in last: its length, what is left of it, and which of a row it is. */
  lastBreak(): BreakSpan
  /** Takes over a break, in whatever state. Probes that are out no longer count. */
  takeBreak(span: BreakSpan): void
  /** Closes it, with a ramp. */
  takeClose(): void
  /** Takes over how the last break was, so that the next one grows from it. */
  remember(last: { readonly breaks: number; readonly breakMs: number; readonly closedForMs: number }): void
}

interface BreakSpan {
  readonly breaks: number
  readonly breakMs: number
  readonly breakLeftMs: number
}

/** A breaker from options that were checked. */
export function breakerOf(
  parsed: CircuitBreakerOptions,
  sharing?: BreakerSharing
): { readonly breaker: CircuitBreaker; readonly controls: BreakerControls } {
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

  const report = reporter<BreakerEvent>(observe)

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
    // The others hear of it first, so that what is done about the report comes after it for them too.
    sharing?.changed('opened')
    report({ type: 'breaker.opened', breaker: name, cause, breakMs: openedForMs, breaks, window: totals() })
  }

  const awaitProbes = (): void => {
    enter('half-open')
    probesEnded = 0
    probesBad = 0
  }

  const halfOpen = (): void => {
    awaitProbes()
    report({ type: 'breaker.half-opened', breaker: name })
  }

  const close = (cause: 'probe' | 'reset' | 'shared', news?: 'closed' | 'reset' | 'resumed'): void => {
    window.clear()
    enter('closed')
    closedAt = clock.monotonic()
    if (cause !== 'reset' && rampMs > 0) {
      hot.free = false
      rampUntil = closedAt + rampMs
      // The first call after closing is let through, whatever the share.
      rampCredit = 1 - rampFromRatio
    }
    if (news !== undefined) sharing?.changed(news)
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
    const holdMs = sharing?.holdMs(now) ?? 0
    if (holdMs > 0) return reject('probing', holdMs)
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
    if (permit.probe) reclaim(clock.monotonic())
    if (!leases.delete(permit)) {
      late += 1
      return
    }
    probesEnded += 1
    if (bad) probesBad += 1
    if (probesBad > probeFailuresMax) open('probe')
    else if (probesEnded === probes) close('probe', 'closed')
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
    openedForMs = Math.min(breakMaxMs, breakMs * 2 ** Math.max(0, breaks - 1))
    openUntil = clock.monotonic() + Math.min(breakMaxMs, Math.max(0, from.breakLeftMs - sinceMs))
    closedAt = clock.monotonic() - openedForMs + Math.min(openedForMs, Math.max(0, from.calmLeftMs - sinceMs))
    window.restore(from.window, sinceMs)
  }

  const run = <T>(permit: BreakerPermit, work: Work<T>, options: CallOptions | undefined): Promise<T> => {
    const simple = options === undefined && !timed && permit === hot.shared
    const { onValue, onError } = simple
      ? reactions
      : reactionsOf(permit, timed ? clock.monotonic() : undefined, options)
    return start(work, callOf(options)).then(onValue, onError)
  }

  const acquire = (): BreakerPermit | BreakerRejection => (hot.free ? hot.shared : admit())

  /** A second answer, to the one call that waits for leave to probe. */
  const answerHeld = async (
    rejection: BreakerRejection,
    options: CallOptions | undefined
  ): Promise<BreakerPermit | BreakerRejection> => {
    const leave = rejection.reason === 'probing' ? sharing?.leave(options) : undefined
    if (leave === undefined) return rejection
    rejected -= 1
    await leave
    const abortion = abortionOf(options)
    if (abortion?.aborted === true) throw abortion.reason
    return acquire()
  }

  const runHeld = async <T>(
    rejection: BreakerRejection,
    work: Work<T>,
    options: CallOptions | undefined
  ): Promise<T> => {
    const permit = await answerHeld(rejection, options)
    if (permit.outcome === 'rejected') throw circuitOpen(name, permit)
    return run(permit, work, options)
  }

  const breaker: Omit<CircuitBreaker, 'state'> = {
    name,
    acquire,
    succeed,
    fail,
    release,
    execute<T>(work: Work<T>, options?: CallOptions): Promise<T> {
      const abortion = abortionOf(options)
      if (abortion?.aborted === true) return Promise.reject(abortion.reason)
      const permit = hot.free ? hot.shared : admit()
      if (permit.outcome === 'permitted') return run(permit, work, options)
      return sharing === undefined ? Promise.reject(circuitOpen(name, permit)) : runHeld(permit, work, options)
    },
    stateAt: (monotonicMs) => (state === 'open' && monotonicMs >= openUntil ? 'half-open' : state),
    stats() {
      if (hot.free || state === 'closed') window.refresh()
      return { state, generation, window: totals(), breaks, rejected, ignored, late }
    },
    snapshot() {
      const now = clock.monotonic()
      const breakLeftMs = state === 'open' ? Math.max(0, openUntil - now) : 0
      const calmLeftMs = state === 'closed' ? Math.max(0, closedAt + openedForMs - now) : 0
      return { version: 1, takenAt: clock.now(), state, breakLeftMs, calmLeftMs, breaks, window: window.slices() }
    },
    trip(options = {}) {
      const { breakMs: forMs } = parseOptions(tripOptions, 'circuitBreaker.trip', options)
      if (state !== 'open' || clock.monotonic() >= openUntil) open('tripped', forMs)
    },
    reset() {
      const overridden = state !== 'closed' && state !== 'open' && state !== 'half-open'
      breaks = 0
      close('reset', overridden ? 'resumed' : 'reset')
    },
    switchTo(override) {
      window.clear()
      enter(override)
      report({ type: 'breaker.switched', breaker: name, to: override })
    }
  }
  const controls: BreakerControls = {
    get state() {
      return state
    },
    async admit(options) {
      const abortion = abortionOf(options)
      if (abortion?.aborted === true) throw abortion.reason
      const permit = acquire()
      return permit.outcome === 'permitted' ? permit : answerHeld(permit, options)
    },
    lastBreak: () => ({ breaks, breakMs: openedForMs, breakLeftMs: Math.max(0, openUntil - clock.monotonic()) }),
    takeBreak(span) {
      breaks = span.breaks
      openedForMs = span.breakMs
      openUntil = clock.monotonic() + span.breakLeftMs
      // A break that was reported goes on; one that is over is no news to a breaker that is half-open.
      if (state === 'open') return
      if (state === 'half-open' && span.breakLeftMs === 0) return awaitProbes()
      enter('open')
      const { breakLeftMs } = span
      report({ type: 'breaker.opened', breaker: name, cause: 'shared', breakMs: breakLeftMs, breaks, window: totals() })
    },
    takeClose: () => close('shared'),
    remember(last) {
      breaks = last.breaks
      openedForMs = last.breakMs
      closedAt = clock.monotonic() - last.closedForMs
    }
  }
  // A getter in the literal would make V8 give up on the methods beside it, which is 4 ns a pair.
  Object.defineProperty(breaker, 'state', {
    enumerable: true,
    get() {
      if (state === 'open') look(clock.monotonic())
      return state
    }
  })
  return { breaker: breaker as CircuitBreaker, controls }
}

const permitOf = (generation: number, probe: boolean): BreakerPermit => ({ outcome: 'permitted', generation, probe })

function circuitOpen(breaker: string, rejection: BreakerRejection): CoreError<'CIRCUIT_OPEN'> {
  const { reason, retryAfterMs } = rejection
  const message = `the circuit breaker ${breaker} let nothing through (${reason}); ask again in ${Math.ceil(retryAfterMs)} ms`
  return withoutStack(() => new CoreError('CIRCUIT_OPEN', message, { breaker, reason, retryAfterMs }))
}
