import type { Verdict } from '@enablement/core'
import { z } from 'zod'
import { identitySchema, keySchema, mayBeSamePrincipal, proseSchema } from '../directory/identity.ts'
import type { Fact } from '../evidence/fact.ts'
import type { AddressedMessage } from '../request/message.ts'
import { type RequestRecord, verdictOf } from '../request/request.ts'
import type { Step } from '../request/step.ts'
import type { Vote } from '../vote/vote-record.ts'
import { caughtUp, settleByVotes, tallyOf } from './settling.ts'

/** An approver's decision. A denial says why, and the agent is told. */
export type Ballot = {
  /** Who decides. The caller has authenticated them; here it is only checked whether they may. */
  readonly approver: string
  /** A call that is repeated under the same key gets the same answer. */
  readonly idempotencyKey?: string
  /**
   * The `argumentHash` of what the approver was shown. A vote for a version that has been edited since is `superseded`;
   * without it the vote is for what is asked at that moment.
   */
  readonly argumentHash?: string
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
  /**
   * Not of a tier that was asked; the one who asks, or the human behind; or nobody whom the directory knows any more. The
   * attempt is on record.
   */
  | { readonly outcome: 'not-authorized'; readonly because: Objection }
  /** What was shown has been edited since. Nothing was counted; the attempt is on record. */
  | { readonly outcome: 'superseded'; readonly argumentHash: string; readonly version: number }

/** Why somebody may not decide. */
export type Objection = 'not-asked' | 'separation-of-duties' | 'not-known'

/** Who votes, as the directory knows them at this moment. */
export interface Voter {
  readonly principal: string
  readonly roles: readonly string[]
  readonly authority: number
}

/** Characters of a reason. */
export const REASON_LENGTH_MAX = 2_000

/**
 * Refused votes that one request puts on record: more than there are approvers in most policies, and a bound on what a
 * stranger who keeps trying can write into the log.
 */
const REFUSED_VOTES_MAX = 256

/** A SHA-256 in hex. */
export const hashSchema: z.ZodType<string> = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hex')

const common = {
  approver: identitySchema,
  idempotencyKey: keySchema.exactOptional(),
  argumentHash: hashSchema.exactOptional()
}

/** What a ballot must be. */
export const ballotSchema = z.discriminatedUnion('decision', [
  z.strictObject({
    ...common,
    decision: z.literal('approve'),
    reason: proseSchema(REASON_LENGTH_MAX).exactOptional()
  }),
  z.strictObject({ ...common, decision: z.literal('deny'), reason: proseSchema(REASON_LENGTH_MAX) })
])

/**
 * Counts a vote, or refuses it. `voter` is who that is by the directory: `unknown` when it knows nobody of that id, and
 * undefined where there is none, so that the seat they were given counts. The deadline, and the time that votes had to
 * settle, are held against the store's clock, whether or not they were acted on yet.
 */
export function cast(
  before: RequestRecord,
  ballot: Ballot,
  voter: Voter | 'unknown' | undefined,
  now: number
): Step<Decided> {
  const { approver, decision, reason, idempotencyKey, argumentHash } = ballot
  const earlier = before.votes.find((vote) => vote.approver === approver)
  if (earlier !== undefined) return voteAgain(before, ballot, earlier)

  const because = objection(before, approver, voter)
  if (because !== undefined) {
    const answer = { outcome: 'not-authorized', because } as const
    return { answer, ...refuse(before, { type: 'vote.refused', approver, decision, because }) }
  }
  const late = { type: 'vote.too-late', approver, decision } as const
  const verdict = verdictOf(before)
  if (verdict !== undefined) return { answer: { outcome: 'too-late', verdict }, ...refuse(before, late) }

  const reached = caughtUp(before, now)
  const ended = verdictOf(reached.request)
  if (ended !== undefined) {
    return join(reached, { answer: { outcome: 'too-late', verdict: ended }, ...refuse(reached.request, late) })
  }
  const { request } = reached
  if (argumentHash !== undefined && argumentHash !== request.argumentHash) {
    const answer = { outcome: 'superseded', argumentHash: request.argumentHash, version: request.version } as const
    const refused = refuse(request, { type: 'vote.refused', approver, decision, because: 'superseded' })
    return join(reached, { answer, ...refused })
  }

  const seat = request.seats.find((taken) => taken.approver === approver)
  const { principal, roles, authority } = (voter === 'unknown' ? undefined : voter) ?? seat ?? unweighted(approver)
  const about = { principal, roles, authority, argumentHash: request.argumentHash }
  const vote: Vote = { approver, ...about, decision, reason, idempotencyKey, votedAt: now }
  const recorded: Fact = {
    type: 'vote.recorded',
    approver,
    principal,
    decision,
    argumentHash: request.argumentHash,
    policyVersion: request.policyVersion,
    version: request.version,
    ...(reason === undefined ? {} : { reason })
  }
  return join(reached, count({ ...request, votes: [...request.votes, vote] }, recorded, now))
}

/** What the votes come to with the last one among them. */
function count(request: RequestRecord, recorded: Fact, now: number): Step<Decided> {
  const ended = settleByVotes(request, now)
  if (ended !== undefined) {
    const answer = { outcome: 'recorded', verdict: verdictOf(ended.request) } as const
    return { ...ended, answer, facts: [recorded, ...ended.facts] }
  }
  const counted = tallyOf(request, now)
  const settleAt = counted.outcome === 'open' ? counted.settleAt : undefined
  const voted = new Set(request.votes.map(({ approver }) => approver))
  // Everyone who was asked has spoken and it is still open: whoever comes next need not wait for their time to pass.
  const everyone = !request.unseated && request.seats.every(({ approver }) => voted.has(approver))
  const spoken = everyone && settleAt === undefined
  const tierEndsAt = spoken && request.tierEndsAt !== undefined ? Math.min(now, request.tierEndsAt) : request.tierEndsAt
  return {
    answer: { outcome: 'recorded', verdict: undefined },
    request: { ...request, settleAt, tierEndsAt },
    facts: [recorded]
  }
}

function voteAgain(
  request: RequestRecord,
  { approver, decision, idempotencyKey }: Ballot,
  earlier: Vote
): Step<Decided> {
  const verdict = verdictOf(request)
  const repeated = idempotencyKey !== undefined && idempotencyKey === earlier.idempotencyKey
  if (repeated && decision === earlier.decision) return { answer: { outcome: 'recorded', verdict }, facts: [] }
  const answer = { outcome: 'already-decided', decision: earlier.decision, verdict } as const
  // A second click is noise; a change of mind is something the record should show.
  if (decision === earlier.decision) return { answer, facts: [] }
  return { answer, ...refuse(request, { type: 'vote.refused', approver, decision, because: 'already-decided' }) }
}

/** Why this person may not decide on the request; undefined when they may. */
export function objection(
  request: Pick<RequestRecord, 'principals' | 'seats'>,
  approver: string,
  voter: Voter | 'unknown' | undefined
): Objection | undefined {
  const seat = request.seats.find((taken) => taken.approver === approver)
  const known = voter === undefined || voter === 'unknown' ? [] : [voter.principal]
  const names = [approver, ...known, ...(seat === undefined ? [] : [seat.principal])]
  const asks = request.principals.some((principal) => names.some((name) => mayBeSamePrincipal(name, principal)))
  if (asks) return 'separation-of-duties'
  if (voter === 'unknown') return 'not-known'
  return seat === undefined ? 'not-asked' : undefined
}

const unweighted = (approver: string): Voter => ({ principal: approver, roles: [], authority: 0 })

/** One step after another, in one unit. */
function join(
  first: {
    readonly request: RequestRecord
    readonly messages: readonly AddressedMessage[]
    readonly facts: readonly Fact[]
  },
  then: Step<Decided>
): Step<Decided> {
  if (first.facts.length === 0) return then
  return {
    answer: then.answer,
    request: then.request ?? first.request,
    messages: [...first.messages, ...(then.messages ?? [])],
    facts: [...first.facts, ...then.facts]
  }
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
