/**
 * How the way out stands. `recovering`: it seems to be back, and is looked at a few times more before it counts as
 * connected, since links that come back often go again.
 */
export type NetworkState = 'connected' | 'partitioned' | 'recovering'

/** When rounds of probes change the state. */
export interface PartitionRule {
  /** This many failed endpoints make a round bad. */
  readonly failuresMin: number
  /** This many bad rounds in a row are a partition; one may be a lost packet. */
  readonly badRoundsMin: number
  /** This many good rounds in a row end it. */
  readonly goodRoundsMin: number
}

/** Where the machine stands. */
export interface PartitionStanding {
  readonly state: NetworkState
  /** Bad rounds since the last time that it was connected and well; what the backoff grows with. */
  readonly badRounds: number
  /** Good rounds in a row while recovering. */
  readonly goodRounds: number
}

/** When to look again: after the usual interval, or after the backoff of so many failures. */
export type NextRound = { readonly after: 'interval' } | { readonly after: 'backoff'; readonly failures: number }

export const connectedStanding: PartitionStanding = { state: 'connected', badRounds: 0, goodRounds: 0 }

/** What a round of probes with `failures` failed endpoints makes of the standing. Pure. */
export function partitionStep(
  standing: PartitionStanding,
  failures: number,
  rule: PartitionRule
): { readonly standing: PartitionStanding; readonly next: NextRound } {
  if (failures >= rule.failuresMin) {
    const badRounds = standing.badRounds + 1
    const cutOff = standing.state !== 'connected' || badRounds >= rule.badRoundsMin
    return {
      standing: { state: cutOff ? 'partitioned' : 'connected', badRounds, goodRounds: 0 },
      // Counted from the partition on, so that the first try to reconnect waits no longer than the base.
      next: { after: 'backoff', failures: cutOff ? Math.max(1, badRounds - rule.badRoundsMin + 1) : 1 }
    }
  }
  const goodRounds = standing.goodRounds + 1
  if (standing.state === 'connected' || goodRounds >= rule.goodRoundsMin) {
    return { standing: connectedStanding, next: { after: 'interval' } }
  }
  return {
    standing: { state: 'recovering', badRounds: standing.badRounds, goodRounds },
    next: { after: 'backoff', failures: 1 }
  }
}
