import type { Clock } from '../time/clock.ts'
import type { BreakerCause } from './breaker-event.ts'
import { type BreakerWindow, FAILURE_RATIO, MINIMUM_THROUGHPUT } from './breaker-options.ts'
import { type CallWindow, ConsecutiveWindow, CountWindow, TimeWindow } from './rolling-window.ts'

/** A window, and what in it opens the breaker. */
export interface TripRule {
  readonly window: CallWindow
  /** The limit that the window exceeds. */
  readonly exceeded: () => BreakerCause | undefined
  /** Infinity where no call is slow. */
  readonly slowCallMs: number
}

export function tripRule(rule: BreakerWindow, clock: Clock): TripRule {
  if (rule.kind === 'consecutive') {
    const window = new ConsecutiveWindow()
    const { failures } = rule
    return {
      window,
      exceeded: () => (window.failures >= failures ? 'consecutive-failures' : undefined),
      slowCallMs: Number.POSITIVE_INFINITY
    }
  }
  const window = rule.kind === 'count' ? new CountWindow(rule.size) : new TimeWindow(clock, rule.samplingMs)
  const { failureRatio = FAILURE_RATIO, slowCallMs = Number.POSITIVE_INFINITY } = rule
  const { slowCallRatio = Number.POSITIVE_INFINITY } = rule
  const most = rule.kind === 'count' ? rule.size : Number.POSITIVE_INFINITY
  const minimumThroughput = rule.minimumThroughput ?? Math.min(MINIMUM_THROUGHPUT, most)
  return {
    window,
    // A division rounds to the double nearest to the true ratio, as the literal 0.6 was rounded: 3 of 5 is exactly it.
    exceeded() {
      if (window.calls < minimumThroughput) return undefined
      if (window.failures / window.calls >= failureRatio) return 'failure-ratio'
      return window.slow / window.calls >= slowCallRatio ? 'slow-call-ratio' : undefined
    },
    slowCallMs
  }
}
