/**
 * How an event's time compares with the receiver's, by `driftMs`, the receipt minus the time of use. MT-1. Both ends of
 * `acceptable`, -60,000 and 300,000, belong to it.
 */
export type Skew = 'future' | 'acceptable' | 'stale'

/** An event further ahead than this is from the future: a minute covers clocks that nobody disciplines closely. */
export const FUTURE_MS = 60_000

/** An event older than this is stale: five minutes cover a queue and a retry. */
export const STALE_MS = 300_000

/** How far ahead a clock may be for its events to be accepted, under another time. */
export const SKEW_GRACE_MS = 300_000

/** Below -60,000 ms `future`, above 300,000 ms `stale`, and `acceptable` from the one to the other. */
export function classifySkew(driftMs: number): Skew {
  if (driftMs < -FUTURE_MS) return 'future'
  return driftMs > STALE_MS ? 'stale' : 'acceptable'
}

/** Under which time an event is counted. */
export type TimeVerdict =
  /** `at` is its own time. A stale event keeps it, too: how late it is decides its bill. */
  | {
      readonly outcome: 'accepted'
      readonly skew: 'acceptable' | 'stale'
      readonly at: number
      readonly driftMs: number
    }
  /** It is from the future by five minutes at most: `at` is the consensus time in place of `reportedAt`. */
  | {
      readonly outcome: 'accepted'
      readonly skew: 'future'
      readonly at: number
      readonly reportedAt: number
      readonly driftMs: number
    }
  /** It is further ahead: kept aside, to be looked at and released. */
  | { readonly outcome: 'quarantined'; readonly skew: 'future'; readonly driftMs: number }

/**
 * Judges the time of an event. All are epoch milliseconds: the time of use that its sender gave, when it was received,
 * and the consensus time at the receipt. Take `receivedAt` from the consensus, too, where there is one: then a receiver
 * whose own clock is wrong does not take everybody else's for wrong.
 */
export function judgeTime(event: {
  readonly at: number
  readonly receivedAt: number
  readonly consensusAt: number
}): TimeVerdict {
  const { at, receivedAt, consensusAt } = event
  const driftMs = receivedAt - at
  const skew = classifySkew(driftMs)
  if (skew !== 'future') return { outcome: 'accepted', skew, at, driftMs }
  if (driftMs < -SKEW_GRACE_MS) return { outcome: 'quarantined', skew, driftMs }
  return { outcome: 'accepted', skew, at: consensusAt, reportedAt: at, driftMs }
}
