import type { Count } from '../count.ts'

/** The verdict is the first vote that the store committed. */
export const firstWins: Count = ({ heard: [first] }) =>
  first === undefined ? { outcome: 'open' } : { outcome: first.vote.decision, by: first.vote, because: 'first-vote' }
