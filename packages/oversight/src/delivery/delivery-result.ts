import type { Fact } from '../evidence/fact.ts'
import { type InvitationRecord, invitationOn } from '../request/invitation-record.ts'
import { type AddressedMessage, about } from '../request/message.ts'
import { currentInvitations, type RequestRecord } from '../request/request.ts'
import type { Step } from '../request/step.ts'

/** Times that an invitation may come back: more than anyone has addresses. */
const BOUNCES_MAX = 3

/** What became of an invitation. */
export type DeliveryResult =
  | { readonly outcome: 'delivered'; readonly receipt?: string | undefined }
  | { readonly outcome: 'unreachable'; readonly reason: string }

/**
 * Records what became of an invitation, and goes on from there: somebody whom one channel cannot reach is invited on the
 * next one of its entry; where nobody of a tier can be reached that is to be skipped then, its wait ends now; an
 * invitation that went out while the verdict was being committed is followed by that verdict.
 *
 * `bounced` is for what was delivered and came back: it is handed to the same channel again, which knows of the bounce and
 * of other addresses, and says `unreachable` when it has none left.
 */
export function recordDelivery(
  request: RequestRecord,
  { invitationId, result, bounced = false }: { invitationId: string; result: DeliveryResult; bounced?: boolean },
  now: number
): Step<'recorded' | 'unknown' | 'known'> {
  const invitation = request.invitations.find(({ id }) => id === invitationId)
  if (invitation === undefined) return { answer: 'unknown', facts: [] }
  if (bounced && invitation.state === 'delivered' && result.outcome === 'unreachable') {
    return { ...returned(request, invitation, result.reason, now), answer: 'recorded' }
  }
  if (invitation.state !== 'queued') return { answer: 'known', facts: [] }
  return result.outcome === 'delivered'
    ? { ...arrived(request, invitation, result.receipt), answer: 'recorded' }
    : { ...failed(request, invitation, result.reason, now), answer: 'recorded' }
}

type Recorded = Omit<Step<unknown>, 'answer'>

function arrived(request: RequestRecord, invitation: InvitationRecord, receipt: string | undefined): Recorded {
  const { id, status, version } = request
  const { tier, approver, channel } = invitation
  const after = { ...invitation, state: 'delivered', receipt } as const
  const late: AddressedMessage[] = []
  if (status !== 'pending') late.push(about('verdict', id, after))
  else if (invitation.version !== version) late.push(about('superseded', id, after))
  return {
    request: withInvitation(request, after),
    messages: late,
    facts: [{ type: 'invitation.delivered', tier, approver, channel }]
  }
}

/** What came back goes out again, unless it has done so too often. */
function returned(request: RequestRecord, invitation: InvitationRecord, reason: string, now: number): Recorded {
  const { id, status, version } = request
  const { tier, approver, channel, bounces } = invitation
  const matters = status === 'pending' && invitation.version === version
  if (!matters || bounces >= BOUNCES_MAX) return failed(request, invitation, reason, now)
  const again = { ...invitation, state: 'queued', receipt: undefined, bounces: bounces + 1 } as const
  return {
    request: withInvitation(request, again),
    messages: [about('invitation', id, again)],
    facts: [{ type: 'invitation.bounced', tier, approver, channel, reason }]
  }
}

function failed(request: RequestRecord, invitation: InvitationRecord, reason: string, now: number): Recorded {
  const { id: requestId, status, version } = request
  const { tier, approver, channel } = invitation
  const after = withInvitation(request, { ...invitation, state: 'unreachable' })
  const matters = status === 'pending' && invitation.version === version
  const next = matters ? invitationOn({ requestId, version, tier, approver }, invitation.otherwise) : undefined
  const fact: Fact = {
    type: 'invitation.unreachable',
    tier,
    approver,
    channel,
    reason,
    ...(next === undefined ? {} : { otherwise: next.channel })
  }
  if (next !== undefined) {
    return {
      request: { ...after, invitations: [...after.invitations, next] },
      messages: [about('invitation', requestId, next)],
      facts: [fact]
    }
  }
  return { request: matters ? endHopelessTier(after, tier, now) : after, facts: [fact] }
}

/** Ends the wait of a tier that is to be skipped if unreachable, once its last invitation has failed. */
function endHopelessTier(request: RequestRecord, tier: number, now: number): RequestRecord {
  const { tierEndsAt, policy } = request
  const isSkipped = policy.tiers[tier]?.skipIfUnreachable === true && tier === request.tier && tierEndsAt !== undefined
  const hopeless = currentInvitations(request).every((other) => other.tier !== tier || other.state === 'unreachable')
  return isSkipped && hopeless ? { ...request, tierEndsAt: Math.min(now, tierEndsAt) } : request
}

function withInvitation(request: RequestRecord, changed: InvitationRecord): RequestRecord {
  return { ...request, invitations: request.invitations.map((one) => (one.id === changed.id ? changed : one)) }
}
