import type { WindowTotals } from './rolling-window.ts'

/**
 * How a breaker stands. By itself it goes from `closed` to `open`, when the window exceeds a limit, from there to
 * `half-open`, when the break is over, and from there to either, as the probes end. The others last until `switchTo`:
 * `metrics-only` lets all through and reports what would have opened it, `forced-open` lets nothing through, `disabled`
 * lets all through and counts nothing.
 */
export type BreakerState = 'closed' | 'open' | 'half-open' | BreakerOverride

/** What `switchTo` imposes. */
export type BreakerOverride = 'metrics-only' | 'forced-open' | 'disabled'

/** Which limit was exceeded. */
export type BreakerCause =
  | 'consecutive-failures'
  | 'failure-ratio'
  | 'slow-call-ratio'
  /** A probe failed or was slow. */
  | 'probe'
  /** `trip` was called. */
  | 'tripped'
  /** Of a breaker that processes share: another one of them opened it. */
  | 'shared'

/** What an operator should hear of. */
export type BreakerEvent =
  /** It lets nothing through for `breakMs`. `breaks` counts the breaks in a row, without a calm spell between them. */
  | {
      readonly type: 'breaker.opened'
      readonly breaker: string
      readonly cause: BreakerCause
      readonly breakMs: number
      readonly breaks: number
      /** The window that opened it; after a probe, the one before the break. */
      readonly window: WindowTotals
    }
  /** The break is over. Reported when somebody first looks after that, by a call or by reading `state`. */
  | { readonly type: 'breaker.half-opened'; readonly breaker: string }
  /** The probes were fine, those of another process that shares it among them, or `reset` closed it. */
  | { readonly type: 'breaker.closed'; readonly breaker: string; readonly cause: 'probe' | 'reset' | 'shared' }
  /** A probe did not report within its lease. Somebody else may probe now, and its report will count for nothing. */
  | { readonly type: 'breaker.probe-reclaimed'; readonly breaker: string; readonly leaseMs: number }
  /** In `metrics-only`: the window has begun to exceed a limit. */
  | {
      readonly type: 'breaker.limit-exceeded'
      readonly breaker: string
      readonly cause: BreakerCause
      readonly window: WindowTotals
    }
  | { readonly type: 'breaker.switched'; readonly breaker: string; readonly to: BreakerOverride }
