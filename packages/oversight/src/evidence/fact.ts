import type { JsonObject, JsonValue, Requester } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import { SYSTEM_DEADLINE, SYSTEM_ESCALATION } from '../directory/system-names.ts'
import type { Risk } from '../policy/risk.ts'
import { identify } from './identify.ts'

/**
 * Something that happened to a request. Every fact is committed to the audit log in the unit that made it true, then
 * handed to `observe`. Tiers count from 0, instants are epoch milliseconds of the store's clock.
 */
export type Fact =
  | {
      readonly type: 'request.opened'
      readonly requestedBy: Requester
      readonly argumentHash: string
      readonly policyVersion: string
      readonly risk: Risk
      /** `unavailable` or `stale`: the agent asked without all that it might have known. */
      readonly context?: 'complete' | 'stale' | 'unavailable'
      /** The first tier, where it has anyone to ask. */
      readonly asked?: TierAsked
    }
  /** The same thing was asked for again under another key, while this request was open. */
  | { readonly type: 'request.coalesced'; readonly idempotencyKey: string }
  /**
   * Any other tier, or the first one later than at the opening. Several where the names of all seats are too long for one
   * entry; `absent` and `after` are in the first.
   */
  | ({
      readonly type: 'tier.asked'
      /** The tier before it, when it passed without a decision. */
      readonly after?: TierPassed
    } & TierAsked)
  /** The directory did not say who sits in it; it is asked again. */
  | { readonly type: 'tier.unseated'; readonly tier: number; readonly endsAt: number; readonly after?: TierPassed }
  /** Nobody in it may decide: it has no approvers, or they are away, or they are those who ask. */
  | { readonly type: 'tier.skipped'; readonly tier: number; readonly because?: readonly string[] }
  /** The last one, when it passed without a decision. */
  | ({ readonly type: 'tier.passed' } & TierPassed)
  /** Its wait had passed before anyone was alive to send its invitations, and was begun anew. */
  | { readonly type: 'tier.started-late'; readonly tier: number; readonly lateByMs: number; readonly endsAt: number }
  | { readonly type: 'tier.reminded'; readonly tier: number; readonly approvers: readonly string[] }
  | { readonly type: 'request.queued'; readonly explanation: string }
  | {
      readonly type: 'request.approved'
      readonly by: string
      readonly argumentHash: string
      readonly policyVersion: string
      readonly reason?: string
    }
  | {
      readonly type: 'request.denied'
      readonly by: string
      readonly argumentHash: string
      readonly policyVersion: string
      readonly reason: string
    }
  | { readonly type: 'request.timed-out'; readonly deadlineAt: number; readonly lateByMs: number }
  /** The deadline came and was moved; `extension` counts from 1. */
  | { readonly type: 'request.extended'; readonly extension: number; readonly deadlineAt: number }
  | { readonly type: 'request.cancelled'; readonly by: string; readonly reason: string }
  | { readonly type: 'request.revoked'; readonly by: string; readonly reason: string }
  | {
      readonly type: 'request.edited'
      readonly by: string
      readonly reason: string
      readonly version: number
      readonly argumentHash: string
      readonly voidedVotes: number
    }
  | { readonly type: 'request.commented'; readonly by: string; readonly text: string }
  | { readonly type: 'request.viewed'; readonly by: string; readonly version: number }
  | {
      readonly type: 'vote.recorded'
      readonly approver: string
      readonly principal: string
      readonly decision: 'approve' | 'deny'
      readonly argumentHash: string
      readonly policyVersion: string
      readonly version: number
      readonly reason?: string
    }
  | {
      readonly type: 'vote.too-late'
      readonly approver: string
      readonly decision: 'approve' | 'deny'
      readonly last?: true
    }
  | {
      readonly type: 'vote.refused'
      readonly approver: string
      readonly decision: 'approve' | 'deny'
      readonly because: 'not-asked' | 'separation-of-duties' | 'not-known' | 'already-decided' | 'superseded'
      /** The bound on recorded refusals is reached: later ones are refused without a record. */
      readonly last?: true
    }
  | {
      readonly type: 'invitation.delivered'
      readonly tier: number
      readonly approver: string
      readonly channel: string
    }
  | {
      readonly type: 'invitation.unreachable'
      readonly tier: number
      readonly approver: string
      readonly channel: string
      readonly reason: string
      /** The channel that is tried instead. */
      readonly otherwise?: string
    }
  /** It had been delivered, and came back: the channel is to reach them in another way. */
  | {
      readonly type: 'invitation.bounced'
      readonly tier: number
      readonly approver: string
      readonly channel: string
      readonly reason: string
    }
  | { readonly type: 'agent.resumed' | 'agent.terminated' }
  | { readonly type: 'agent.unreachable'; readonly call: 'resume' | 'terminate'; readonly reason: string }
  | { readonly type: 'execution.started'; readonly fence: number; readonly leaseUntil: number }
  | { readonly type: 'execution.executed'; readonly fence: number; readonly reconciledBy?: string }
  /** The effect said that it had no effect, or its target did: the approval may be used again. */
  | {
      readonly type: 'execution.released'
      readonly fence: number
      readonly reason: string
      readonly reconciledBy?: string
    }
  /** An executor that had been given up says that its effect happened, and the claim `by` has been made since. */
  | { readonly type: 'execution.overtaken'; readonly fence: number; readonly by: number }
  | {
      readonly type: 'execution.in-doubt'
      readonly fence: number
      readonly because: 'the effect threw' | 'the lease ran out'
    }

/** Who is asked, and until when. */
export interface TierAsked {
  readonly tier: number
  readonly seats: readonly { readonly approver: string; readonly via: string }[]
  /** Who would have been asked and was not. */
  readonly absent?: readonly { readonly approver: string; readonly because: string }[]
  readonly endsAt: number
}

/** That a tier passed without a decision; `lateByMs` after its end. */
export interface TierPassed {
  readonly tier: number
  readonly because: TierSilence
  readonly lateByMs: number
}

/** Why a tier did not decide: someone was invited and said nothing, nobody could be invited, or all votes decide nothing. */
export type TierSilence = 'silent' | 'unreachable' | 'undecided'

/** The part of a request that its evidence names. */
interface Concerned {
  readonly id: string
  readonly tenant: string
  readonly action: string
  readonly requestedBy: Requester
}

/** The subject of a request's entries. */
export const subjectOf = (requestId: string): string => `request:${requestId}`

/**
 * The subject of the entry of a vote. A request has several, and each must be there, so each has a subject of its own; the
 * approver's name is hashed, since it may be longer than a subject.
 */
export const voteSubjectOf = (requestId: string, version: number, approver: string): string =>
  `${subjectOf(requestId)}/vote:${identify(version, approver)}`

/** The fact as a draft for the audit log. Summary and detail of the request stay out: the hash stands for them. */
export function evidenceOf(request: Concerned, fact: Fact): AuditDraft {
  const { type, ...detail } = fact
  return {
    tenant: request.tenant,
    actor: actorOf(request, fact),
    action: type,
    subject:
      fact.type === 'vote.recorded' ? voteSubjectOf(request.id, fact.version, fact.approver) : subjectOf(request.id),
    detail: type === 'request.opened' ? { ...asJson(detail), action: request.action } : asJson(detail)
  }
}

function actorOf(request: Concerned, fact: Fact): string {
  switch (fact.type) {
    case 'request.opened':
    case 'request.coalesced':
      return `agent:${request.requestedBy.agent}`
    case 'request.approved':
    case 'request.denied':
      return /^(?:system|grant):/.test(fact.by) ? fact.by : `approver:${fact.by}`
    case 'request.cancelled':
      return `canceller:${fact.by}`
    case 'request.revoked':
      return fact.by.startsWith('system:') ? fact.by : `revoker:${fact.by}`
    case 'request.edited':
    case 'request.commented':
    case 'request.viewed':
      return `approver:${fact.by}`
    case 'vote.recorded':
    case 'vote.too-late':
    case 'vote.refused':
      return `approver:${fact.approver}`
    case 'request.timed-out':
    case 'request.extended':
      return SYSTEM_DEADLINE
    case 'tier.asked':
    case 'tier.unseated':
    case 'tier.skipped':
    case 'tier.passed':
    case 'tier.started-late':
    case 'tier.reminded':
    case 'request.queued':
      return SYSTEM_ESCALATION
    case 'invitation.delivered':
    case 'invitation.unreachable':
    case 'invitation.bounced':
    case 'agent.resumed':
    case 'agent.terminated':
    case 'agent.unreachable':
      return 'system:delivery'
    case 'execution.executed':
    case 'execution.released':
      return fact.reconciledBy === undefined ? 'system:execution' : `reconciler:${fact.reconciledBy}`
    case 'execution.started':
    case 'execution.overtaken':
    case 'execution.in-doubt':
      return 'system:execution'
  }
}

/**
 * The rest of a fact holds nothing but strings, numbers and lists of them; an interface merely lacks the index type.
 */
const asJson = (detail: { readonly [key: string]: unknown }): JsonObject => detail as { [key: string]: JsonValue }
