import type { Fact } from '../evidence/fact.ts'
import type { RequestRecord } from '../request/request.ts'
import { isOverdue, type Settled, settle, timeOut } from '../request/settlement.ts'
import type { Tally } from '../vote/count.ts'
import { tally } from '../vote/tally.ts'

/** What the votes that a request holds amount to at `now`. */
export function tallyOf(request: RequestRecord, now: number, { exhausted = false } = {}): Tally {
  const { policy, votes, seats, tier, unseated, queued } = request
  const last = policy.tiers.length - 1
  const tiers = Array.from({ length: tier + 1 }, (_, index) => seats.filter((seat) => seat.tier === index))
  return tally(policy.strategy ?? 'first-wins', {
    votes,
    argumentHash: request.argumentHash,
    tiers,
    // A tier whose people are not known yet is one that is still to be asked.
    moreTiers: !exhausted && !queued && (unseated || tier < last),
    now,
    exhausted
  })
}

/**
 * Where time alone has brought a request before anything else happens to it: votes that were to settle before the deadline
 * have settled it, or the deadline has come, whoever notices first. Without facts when nothing was due.
 */
export function caughtUp(request: RequestRecord, now: number): Settled {
  const { settleAt, deadlineAt = Number.POSITIVE_INFINITY } = request
  if (request.status === 'pending' && settleAt !== undefined && now >= settleAt && settleAt < deadlineAt) {
    const decided = settleByVotes({ ...request, settleAt: undefined }, now)
    if (decided !== undefined) return decided
  }
  return isOverdue(request, now) ? timeOut(request, now) : { request, messages: [], facts: [] }
}

/** Ends the request as its votes say; undefined while they say nothing yet. */
export function settleByVotes(
  request: RequestRecord,
  now: number,
  options?: { exhausted: boolean }
): Settled | undefined {
  const counted = tallyOf(request, now, options)
  if (counted.outcome === 'open') return undefined
  const { argumentHash, policyVersion } = request
  const { approver: by, reason: given } = counted.by
  const bound = { by, argumentHash, policyVersion }
  if (counted.outcome === 'approve') {
    const reason = given
    const fact: Fact = { type: 'request.approved', ...bound, ...(reason === undefined ? {} : { reason }) }
    return settle(request, { status: 'approved', by, reason, fact }, now)
  }
  // A tie denies although the vote that decided it may have been an approval, which needs no reason.
  const reason = given ?? counted.because
  const fact: Fact = { type: 'request.denied', ...bound, reason }
  return settle(request, { status: 'denied', by, reason, fact }, now)
}
