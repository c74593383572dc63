import type { Addressee, Invitation } from '../channel/channel.ts'
import type { MessageAttempt } from '../oversight-store.ts'
import type { InvitationRecord } from '../request/invitation-record.ts'
import type { RequestRecord } from '../request/request.ts'

/** What an approver is shown. */
export function invitationFor(
  request: RequestRecord,
  invitation: InvitationRecord,
  of: { readonly kind: 'invitation' | 'reminder'; readonly approver: Addressee; readonly attempt: MessageAttempt }
): Invitation {
  const { tenant, action, risk, summary, excerpt, argumentHash, version, requestedBy, context } = request
  const { openedAt, tierEndsAt, deadlineAt } = request
  const { id, tier, receipt } = invitation
  const { kind, approver, attempt } = of
  const asked = { tenant, action, risk, summary, excerpt, argumentHash, version, requestedBy, context }
  return {
    // A reminder is a message of its own, and repetitions of it are known by its own id.
    id: kind === 'invitation' ? id : attempt.id,
    kind,
    requestId: request.id,
    ...asked,
    approver,
    tier,
    attempt: attempt.attempt,
    receipt: kind === 'reminder' ? receipt : undefined,
    openedAt,
    escalatesAt: tier === request.tier ? tierEndsAt : undefined,
    deadlineAt
  }
}
