import { identify } from '../evidence/identify.ts'
import { channelsIn } from '../policy/policy.ts'

/** That somebody is, or was, to be invited on a channel, and what came of it. */
export interface InvitationRecord {
  /** Follows from what it is, so that no step can invite twice. */
  readonly id: string
  readonly tier: number
  readonly approver: string
  readonly channel: string
  /** Which version of the request it asks about. */
  readonly version: number
  /** Where it goes on when this channel cannot reach them. */
  readonly otherwise: readonly string[]
  readonly state: 'queued' | 'delivered' | 'unreachable'
  /** The channel's own reference to the message, with which it updates it after the verdict. */
  readonly receipt: string | undefined
  /** How often it came back after it had been delivered. */
  readonly bounces: number
}

/** The invitations for one person of a tier: one on each entry of its channels. */
export function invitationsOf(
  about: { readonly requestId: string; readonly version: number; readonly tier: number; readonly approver: string },
  channels: readonly (string | readonly string[])[]
): readonly InvitationRecord[] {
  return channels.flatMap((entry) => {
    const invitation = invitationOn(about, channelsIn(entry))
    return invitation === undefined ? [] : [invitation]
  })
}

/** The invitation on the first of the channels; undefined when there is none left. */
export function invitationOn(
  about: { readonly requestId: string; readonly version: number; readonly tier: number; readonly approver: string },
  [channel, ...otherwise]: readonly string[]
): InvitationRecord | undefined {
  if (channel === undefined) return undefined
  const { requestId, version, tier, approver } = about
  const id = identify(requestId, version, tier, approver, channel)
  return { id, tier, approver, channel, version, otherwise, state: 'queued', receipt: undefined, bounces: 0 }
}
