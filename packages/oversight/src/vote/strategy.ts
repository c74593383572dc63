import type { ApprovalPolicy } from '../policy/policy.ts'
import type { Vote } from '../request/dossier.ts'

/** What the votes amount to so far: a vote that decides, or nothing yet. */
type Tally = (votes: readonly Vote[], policy: ApprovalPolicy) => Vote | undefined

/** The verdict is the first vote that the store committed. Votes come in that order. */
const firstWins: Tally = (votes) => votes[0]

/** By the name a policy gives; the policy's schema admits no other. */
export const strategies: { readonly [name in NonNullable<ApprovalPolicy['strategy']>]: Tally } = {
  'first-wins': firstWins
}
