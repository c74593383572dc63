import type { Electorate } from './electorate.ts'
import type { Vote } from './vote-record.ts'

/** What the votes have come to. */
export type Tally =
  /**
   * Nothing yet. At `settleAt` (epoch milliseconds) it is something even if nobody votes any more. Open at the last look
   * means that the votes decide nothing: not a person's denial.
   */
  | { readonly outcome: 'open'; readonly settleAt?: number }
  /** `by` is the vote that decided; where it took several, the one that was committed last of those needed. */
  | { readonly outcome: 'approve' | 'deny'; readonly by: Vote; readonly because: TallyReason }

/** Why the votes have come to what they have. */
export type TallyReason =
  /** `first-wins` */
  | 'first-vote'
  /** `any-approve` */
  | 'one-approved'
  | 'all-denied'
  /** `all-approve`: everybody asked; or everybody of one tier, and whoever else was asked has not denied in time. */
  | 'all-approved'
  | 'tier-approved'
  | 'one-denied'
  /** `highest-authority`: those with the most authority say so; or one of them denied what another had approved. */
  | 'top-authority'
  | 'tie'
  /** `quorum`: met; denied as often as thresholds say; or out of reach since denials left too few who could approve. */
  | 'quorum-met'
  | 'quorum-denied'
  | 'quorum-out-of-reach'

/** Decides by the people who were asked and what they said. */
export type Count = (electorate: Electorate, poll: CountedPoll) => Tally

/** What a strategy needs to know beyond who said what. */
export interface CountedPoll {
  /** Nobody else will be asked. */
  readonly allAsked: boolean
  readonly now: number
  readonly exhausted: boolean
}
