import type { Verdict } from '@enablement/core'
import { z } from 'zod'
import { identitySchema, keySchema, proseSchema } from '../directory/identity.ts'
import type { Fact } from '../evidence/fact.ts'
import { eligibleApprovers } from '../policy/eligibility.ts'
import type { Dossier, Vote } from '../request/dossier.ts'
import { type RequestRecord, verdictOf } from '../request/request.ts'
import { isOverdue, settle, timeOut } from '../request/settlement.ts'
import type { Step } from '../request/step.ts'
import { strategies } from './strategy.ts'

/**
 * What an approver says. Whoever calls `decide` has made sure that it is this approver who speaks; whether they may
 * decide on this request is checked here. A denial gives its reason, which the agent is told.
 */
export type Ballot = {
  readonly approver: string
  /** The same vote sent again with the same key gets the same answer. */
  readonly idempotencyKey?: string
} & (
  | { readonly decision: 'approve'; readonly reason?: string }
  | { readonly decision: 'deny'; readonly reason: string }
)

/** What became of a vote. */
export type Decided =
  /** It counts. `verdict` is what the request came to, undefined while other votes are still wanted. */
  | { readonly outcome: 'recorded'; readonly verdict: Verdict | undefined }
  /** This approver has voted before, and that vote stands. */
  | {
      readonly outcome: 'already-decided'
      readonly decision: 'approve' | 'deny'
      readonly verdict: Verdict | undefined
    }
  /** The request had ended. The attempt is on record. */
  | { readonly outcome: 'too-late'; readonly verdict: Verdict }
  /** Not of a tier that was asked, or the one who asks, or the human behind. The attempt is on record. */
  | { readonly outcome: 'not-authorized'; readonly because: 'not-asked' | 'separation-of-duties' }

/** Characters of a reason. */
export const REASON_LENGTH_MAX = 2_000

/**
 * Refused votes that one request puts on record: more than there are approvers in most policies, and a bound on what a
 * stranger who keeps trying can write into the log.
 */
const REFUSED_VOTES_MAX = 256

/** What a ballot must be. */
export const ballotSchema = z.discriminatedUnion('decision', [
  z.strictObject({
    approver: identitySchema,
    idempotencyKey: keySchema.exactOptional(),
    decision: z.literal('approve'),
    reason: proseSchema(REASON_LENGTH_MAX).exactOptional()
  }),
  z.strictObject({
    approver: identitySchema,
    idempotencyKey: keySchema.exactOptional(),
    decision: z.literal('deny'),
    reason: proseSchema(REASON_LENGTH_MAX)
  })
])

/** Counts a vote, or refuses it. The deadline is held against the store's clock, whether or not it was acted on yet. */
export function cast(dossier: Dossier, ballot: Ballot, now: number): Step<Decided> {
  const { request, votes } = dossier
  const { approver, decision, reason, idempotencyKey } = ballot
  const earlier = votes.find((vote) => vote.approver === approver)
  if (earlier !== undefined) {
    const verdict = verdictOf(request)
    const repeated = idempotencyKey !== undefined && idempotencyKey === earlier.idempotencyKey
    if (repeated && decision === earlier.decision) return { answer: { outcome: 'recorded', verdict }, facts: [] }
    const answer = { outcome: 'already-decided', decision: earlier.decision, verdict } as const
    // A second click is noise; a change of mind is something the record should show.
    if (decision === earlier.decision) return { answer, facts: [] }
    return { answer, ...refuse(request, { type: 'vote.refused', approver, decision, because: 'already-decided' }) }
  }

  const because = objection(request, approver)
  if (because !== undefined) {
    const answer = { outcome: 'not-authorized', because } as const
    return { answer, ...refuse(request, { type: 'vote.refused', approver, decision, because }) }
  }
  const late = { type: 'vote.too-late', approver, decision } as const
  const verdict = verdictOf(request)
  if (verdict !== undefined) return { answer: { outcome: 'too-late', verdict }, ...refuse(request, late) }
  if (isOverdue(request, now)) {
    const ended = timeOut(dossier, now)
    const refused = refuse(ended.request, late)
    const answer = { outcome: 'too-late', verdict: verdictOf(ended.request) as Verdict } as const
    return { ...ended, ...refused, answer, facts: [...ended.facts, ...refused.facts] }
  }

  const { argumentHash, policy } = request
  const vote: Vote = { approver, decision, reason, idempotencyKey, argumentHash, votedAt: now }
  const deciding = strategies[policy.strategy ?? 'first-wins']([...votes, vote], policy)
  if (deciding === undefined) return { answer: { outcome: 'recorded', verdict: undefined }, vote, facts: [] }
  const ended = settle(dossier, endBy(deciding), now)
  return { ...ended, vote, answer: { outcome: 'recorded', verdict: verdictOf(ended.request) } }
}

/** Why this person may not decide on the request; undefined when they may. */
function objection(request: RequestRecord, approver: string): 'not-asked' | 'separation-of-duties' | undefined {
  const asked = request.policy.tiers.slice(0, request.tier + 1)
  if (asked.some((tier) => eligibleApprovers(tier, request).includes(approver))) return undefined
  return eligibleApprovers({ approvers: [approver], channels: [], waitMs: 0 }, request).length === 0
    ? 'separation-of-duties'
    : 'not-asked'
}

function endBy({ approver: by, decision, reason, argumentHash }: Vote): Parameters<typeof settle>[1] {
  if (decision === 'deny') {
    const given = reason ?? ''
    return {
      status: 'denied',
      by,
      reason,
      fact: { type: 'request.denied', by, argumentHash, reason: given }
    }
  }
  const fact: Fact = { type: 'request.approved', by, argumentHash, ...(reason === undefined ? {} : { reason }) }
  return { status: 'approved', by, reason, fact }
}

/** Puts a refused vote on record, up to the bound. */
function refuse(
  request: RequestRecord,
  fact: Extract<Fact, { readonly type: 'vote.too-late' | 'vote.refused' }>
): { readonly request?: RequestRecord; readonly facts: readonly Fact[] } {
  const refusedVotes = request.refusedVotes + 1
  if (refusedVotes > REFUSED_VOTES_MAX) return { facts: [] }
  return {
    request: { ...request, refusedVotes },
    facts: [refusedVotes === REFUSED_VOTES_MAX ? { ...fact, last: true } : fact]
  }
}
