import type { Addressee, Channel, DeliveryOutcome, Invitation } from '../channel/channel.ts'
import { identify } from '../evidence/identify.ts'
import type { OversightStore } from '../oversight-store.ts'
import type { InvitationRecord } from '../request/invitation-record.ts'
import { currentInvitations, type RequestRecord } from '../request/request.ts'
import type { Transitions } from '../transition/transitions.ts'
import { recordDelivery } from './delivery-result.ts'
import { invitationFor } from './shown-invitation.ts'

/** From how many that wait for one person on one channel they come as one message. */
const DIGEST_FROM = 5
/** Invitations in one digest: what somebody can take in, and what fits into a chat message. */
const DIGEST_MAX = 20
/** Requests that are looked through for what else waits: beyond it `more` is a lower bound. */
const LOOKED_AT_MAX = 100

/** An invitation that waits, with its request. */
interface Waiting {
  readonly request: RequestRecord
  readonly invitation: InvitationRecord
}

/**
 * Brings an invitation together with what else waits for the same person on the same channel, if that is a storm;
 * undefined when it is not, and it goes out by itself. Messages of one person and channel go out one after another, so
 * that no two digests bring the same. Those that it brought along are recorded one by one: a worker that dies in between
 * leaves some to come again.
 */
export async function digestFor(
  { store, transitions }: { readonly store: OversightStore; readonly transitions: Transitions },
  of: {
    readonly channel: Channel
    readonly shown: Invitation
    readonly invitation: InvitationRecord
    readonly approver: Addressee
  },
  signal: AbortSignal
): Promise<DeliveryOutcome | undefined> {
  const { channel, shown, invitation, approver } = of
  const { tenant } = shown
  const look = async (page: { readonly from: string } | { readonly before: string }): Promise<readonly Waiting[]> => {
    const query = { tenant, status: 'pending', approver: approver.id, limit: LOOKED_AT_MAX, ...page } as const
    const waiting = (await store.list(query)).flatMap((request) => waitingIn(request, invitation))
    return waiting.filter((one) => one.invitation.id !== invitation.id)
  }
  // What was opened before has mostly gone out before, since messages of a line go out in order.
  const later = await look({ from: shown.requestId })
  const others = later.length + 1 < DIGEST_FROM ? [...later, ...(await look({ before: shown.requestId }))] : later
  if (others.length + 1 < DIGEST_FROM) return undefined

  const along = others.slice(0, DIGEST_MAX - 1)
  const attempt = { id: shown.id, payload: '', attempt: 1 }
  const invitations = [
    shown,
    ...along.map((one) => invitationFor(one.request, one.invitation, { kind: 'invitation', approver, attempt }))
  ].toSorted((one, other) => one.openedAt - other.openedAt)
  const id = identify('digest', ...invitations.map((one) => one.id))
  const more = others.length - along.length
  const outcome = await channel.digest?.({ id, tenant, approver, invitations, more }, { signal })
  if (outcome?.outcome !== 'delivered') return outcome
  const result = { outcome: 'delivered', receipt: outcome.receipt } as const
  await Promise.all(
    along.map((one) =>
      transitions.apply(one.request.id, (held, now) =>
        recordDelivery(held, { invitationId: one.invitation.id, result }, now)
      )
    )
  )
  return outcome
}

function waitingIn(request: RequestRecord, like: InvitationRecord): readonly Waiting[] {
  return currentInvitations(request)
    .filter(
      ({ state, approver, channel }) => state === 'queued' && approver === like.approver && channel === like.channel
    )
    .map((invitation) => ({ request, invitation }))
}
