import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/**
 * A message that has to go out, as a row of the outbox: written in the unit that decided on it, sent outside of any
 * unit, and its result committed afterwards. A worker that dies in between makes it go out once more, under the same
 * id.
 */
export interface Delivery {
  readonly id: string
  readonly requestId: string
  /** An invitation to decide, or the verdict for someone who was invited. */
  readonly kind: 'invitation' | 'verdict'
  readonly tier: number
  readonly approver: string
  readonly channel: string
  /** `failed`: a verdict that could not be brought, which is best effort. `cancelled`: the verdict came first. */
  readonly state: 'queued' | 'delivered' | 'unreachable' | 'failed' | 'cancelled'
  /** How often a worker has set out to send it. */
  readonly attempts: number
  /** When a worker may take it; for one that was taken, when its lease ends. Undefined once nothing is left to do. */
  readonly dueAt: number | undefined
  /** The channel's own reference to the message, with which it updates it after the verdict. */
  readonly receipt: string | undefined
}

/** Invites one approver of a tier on one channel. The id follows from what it is, so that no step can invite twice. */
export function invitationOf(
  requestId: string,
  tier: number,
  approver: string,
  channel: string,
  now: number
): Delivery {
  const id = identify('invitation', requestId, tier, approver, channel)
  const state = 'queued'
  return {
    id,
    requestId,
    kind: 'invitation',
    tier,
    approver,
    channel,
    state,
    attempts: 0,
    dueAt: now,
    receipt: undefined
  }
}

/** Tells someone who was invited how it ended, on the same channel. */
export function noticeOf(invitation: Delivery, now: number): Delivery {
  const { requestId, tier, approver, channel } = invitation
  const id = identify('verdict', requestId, tier, approver, channel)
  return { ...invitation, id, kind: 'verdict', state: 'queued', attempts: 0, dueAt: now }
}

/** An invitation that has not gone out and no longer needs to. */
export const cancelled = (delivery: Delivery): Delivery => ({ ...delivery, state: 'cancelled', dueAt: undefined })

/** The first 128 bits of a hash, in hex: distinct for distinct parts, and fit for a channel's own idempotency key. */
function identify(...parts: readonly (string | number)[]): string {
  return bytesToHex(sha256(utf8ToBytes(JSON.stringify(parts)))).slice(0, 32)
}
