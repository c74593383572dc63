import type { Count } from '../count.ts'

/**
 * Waits for those with the most authority among the people asked, or for the end of the window that the first vote
 * opened. Who is silent may still come with the authority they were asked with, and not with more.
 */
export function highestAuthority(settleMs: number): Count {
  return ({ people, heard }, { now, exhausted }) => {
    if (heard.length === 0) return { outcome: 'open' }
    // By a clock that was set back the first vote is not the one with the earliest date.
    const settleAt =
      heard.reduce((first, { vote }) => Math.min(first, vote.votedAt), Number.POSITIVE_INFINITY) + settleMs
    const inTime = heard.filter(({ vote }) => vote.votedAt < settleAt)
    const isOver = exhausted || now >= settleAt || inTime.length < heard.length
    const top = (isOver ? inTime : people).reduce(
      (most, { authority }) => Math.max(most, authority),
      Number.NEGATIVE_INFINITY
    )

    const voted = inTime.filter(({ authority }) => authority === top).map(({ vote }) => vote)
    const denial = voted.find(({ decision }) => decision === 'deny')
    if (denial !== undefined) {
      return { outcome: 'deny', by: denial, because: denial === voted[0] ? 'top-authority' : 'tie' }
    }
    const by = voted.at(-1)
    const isComplete = isOver || voted.length === people.filter(({ authority }) => authority === top).length
    if (by === undefined || !isComplete) return { outcome: 'open', settleAt }
    return { outcome: 'approve', by, because: 'top-authority' }
  }
}
