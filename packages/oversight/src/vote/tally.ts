import type { Seat } from '../directory/seat.ts'
import type { Count, Tally } from './count.ts'
import { electorateOf } from './electorate.ts'
import { allApprove } from './strategies/all-approve.ts'
import { anyApprove } from './strategies/any-approve.ts'
import { firstWins } from './strategies/first-wins.ts'
import { highestAuthority } from './strategies/highest-authority.ts'
import { quorum } from './strategies/quorum.ts'
import type { Vote } from './vote-record.ts'
import type { VoteStrategy } from './vote-strategy.ts'

/** Where a vote has got to. */
export interface Poll {
  /** Every vote of the request, in the order in which they were committed. */
  readonly votes: readonly Vote[]
  /** Of what is asked now: votes on anything else count nothing. */
  readonly argumentHash: string
  /** The seats of each tier that was asked, without those who ask. */
  readonly tiers: readonly (readonly Seat[])[]
  /** Whether further tiers may still be asked. */
  readonly moreTiers: boolean
  /** Epoch milliseconds by the clock that dated the votes. */
  readonly now: number
  /** Whether this is the last look: the chain or the request is at its end, and nobody is waited for any more. */
  readonly exhausted: boolean
}

/**
 * What the votes amount to under a strategy. It reads nothing but its arguments, so every process finds the same; once
 * it has come to something, neither time nor further votes of other people change that, within what the strategy
 * promises about order. Call it after each vote, at `settleAt`, and when the chain or the request ends.
 */
export function tally(strategy: VoteStrategy, poll: Poll): Tally {
  const { votes, argumentHash, tiers, moreTiers, now, exhausted } = poll
  const electorate = electorateOf(tiers, votes, argumentHash)
  return countBy(strategy)(electorate, { allAsked: exhausted || !moreTiers, now, exhausted })
}

function countBy(strategy: VoteStrategy): Count {
  switch (strategy) {
    case 'first-wins':
      return firstWins
    case 'any-approve':
      return anyApprove
    case 'all-approve':
      return allApprove(Number.POSITIVE_INFINITY)
  }
  switch (strategy.kind) {
    case 'all-approve':
      return allApprove(strategy.objectionMs)
    case 'highest-authority':
      return highestAuthority(strategy.settleMs)
    case 'quorum':
      return quorum(strategy)
  }
}
