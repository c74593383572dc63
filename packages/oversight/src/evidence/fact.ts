import type { JsonObject, JsonValue, Requester } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'

/**
 * Something that happened to a request. Every fact is committed to the audit log in the unit that made it true, then
 * handed to `observe`. Tiers count from 0, instants are epoch milliseconds of the store's clock.
 */
export type Fact =
  | { readonly type: 'request.opened'; readonly requestedBy: Requester; readonly argumentHash: string }
  | {
      readonly type: 'tier.asked'
      readonly tier: number
      readonly approvers: readonly string[]
      readonly channels: readonly string[]
      readonly endsAt: number
    }
  /** Nobody in it may decide: it has no approvers, or they are those who ask. */
  | { readonly type: 'tier.skipped'; readonly tier: number }
  /** Its wait passed without a decision; `lateByMs` after its end. */
  | { readonly type: 'tier.passed'; readonly tier: number; readonly because: TierSilence; readonly lateByMs: number }
  /** Its wait had passed before anyone was alive to send its invitations, and was begun anew. */
  | { readonly type: 'tier.started-late'; readonly tier: number; readonly lateByMs: number; readonly endsAt: number }
  | { readonly type: 'request.queued'; readonly explanation: string }
  | {
      readonly type: 'request.approved'
      readonly by: string
      readonly argumentHash: string
      readonly reason?: string
    }
  | {
      readonly type: 'request.denied'
      readonly by: string
      readonly argumentHash: string
      readonly reason: string
    }
  | { readonly type: 'request.timed-out'; readonly deadlineAt: number; readonly lateByMs: number }
  | { readonly type: 'request.cancelled'; readonly by: string; readonly reason: string }
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
      readonly because: 'not-asked' | 'separation-of-duties' | 'already-decided'
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
    }
  | { readonly type: 'execution.started'; readonly fence: number; readonly leaseUntil: number }
  | { readonly type: 'execution.executed'; readonly fence: number }
  /** The effect said that it had no effect: the approval may be used again. */
  | { readonly type: 'execution.released'; readonly fence: number; readonly reason: string }
  | {
      readonly type: 'execution.in-doubt'
      readonly fence: number
      readonly because: 'the effect threw' | 'the lease ran out'
    }

/** Why a tier did not decide: someone was invited and said nothing, or nobody could be invited. */
export type TierSilence = 'silent' | 'unreachable'

/** The part of a request that its evidence names. */
interface Concerned {
  readonly id: string
  readonly tenant: string
  readonly action: string
  readonly requestedBy: Requester
}

/** The fact as a draft for the audit log. Summary and detail of the request stay out: the hash stands for them. */
export function evidenceOf(request: Concerned, fact: Fact): AuditDraft {
  const { type, ...detail } = fact
  return {
    tenant: request.tenant,
    actor: actorOf(request, fact),
    action: type,
    subject: `request:${request.id}`,
    detail: type === 'request.opened' ? { ...asJson(detail), action: request.action } : asJson(detail)
  }
}

function actorOf(request: Concerned, fact: Fact): string {
  switch (fact.type) {
    case 'request.opened':
      return `agent:${request.requestedBy.agent}`
    case 'request.approved':
    case 'request.denied':
      return fact.by.startsWith('system:') ? fact.by : `approver:${fact.by}`
    case 'request.cancelled':
      return `canceller:${fact.by}`
    case 'vote.too-late':
    case 'vote.refused':
      return `approver:${fact.approver}`
    case 'request.timed-out':
      return 'system:deadline'
    case 'tier.asked':
    case 'tier.skipped':
    case 'tier.passed':
    case 'tier.started-late':
    case 'request.queued':
      return 'system:escalation'
    case 'invitation.delivered':
    case 'invitation.unreachable':
      return 'system:delivery'
    case 'execution.started':
    case 'execution.executed':
    case 'execution.released':
    case 'execution.in-doubt':
      return 'system:execution'
  }
}

/**
 * The rest of a fact holds nothing but strings, numbers and lists of them; an interface merely lacks the index type.
 */
const asJson = (detail: { readonly [key: string]: unknown }): JsonObject => detail as { [key: string]: JsonValue }
