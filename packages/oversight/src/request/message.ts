import type { InvitationRecord } from './invitation-record.ts'

/**
 * What has to go out, as the outbox carries it: written in the unit that decided on it, sent outside of any unit. It
 * names the request and says no more, so that what is sent is what holds when it is sent.
 */
export type Message =
  /** An invitation, or a reminder of one that was delivered. */
  | { readonly kind: 'invitation' | 'reminder'; readonly requestId: string; readonly invitationId: string }
  /** Tells someone who was invited how it ended, or that what they were asked was edited. */
  | {
      readonly kind: 'verdict' | 'superseded'
      readonly requestId: string
      readonly invitationId: string
    }
  /** For those who run the place. */
  | { readonly kind: 'alert'; readonly requestId: string; readonly reason: AlertReason }
  /** For the agent's host, through `AgentControl`. */
  | { readonly kind: 'resume' | 'terminate'; readonly requestId: string }

/** Why those who run the place are told. */
export type AlertReason =
  /** Everyone was asked and nobody decided. */
  | 'exhausted'
  /** There was nobody whom it could be put to. */
  | 'nobody-asked'
  /** It was approved without anyone, as its policy allows. */
  | 'auto-approved'
  /** The agent could not be resumed or terminated. */
  | 'agent-unreachable'
  /** Whether an effect happened is not known, and asking its target did not tell. */
  | 'in-doubt'
  /** An executor that had been given up says that its effect happened, and another one has begun since. */
  | 'executed-twice'

/** A message, and where it goes. */
export interface AddressedMessage {
  readonly message: Message
  /** What shares a circuit breaker: a channel's name, or that of a port. */
  readonly destination: string
  /** Whom it is for; undefined for the two ports. */
  readonly approver: string | undefined
}

/** Where messages to the two ports go; no channel can be called so. */
export const AGENT_CONTROL = 'system:agent-control'
export const ALERTS = 'system:alerts'

export const alert = (requestId: string, reason: AlertReason): AddressedMessage => ({
  message: { kind: 'alert', requestId, reason },
  destination: ALERTS,
  approver: undefined
})

export const toAgent = (kind: 'resume' | 'terminate', requestId: string): AddressedMessage => ({
  message: { kind, requestId },
  destination: AGENT_CONTROL,
  approver: undefined
})

/** A message about an invitation, on its channel. */
export const about = (
  kind: 'invitation' | 'reminder' | 'verdict' | 'superseded',
  requestId: string,
  { id: invitationId, channel, approver }: InvitationRecord
): AddressedMessage => ({ message: { kind, requestId, invitationId }, destination: channel, approver })

const KINDS = ['invitation', 'reminder', 'verdict', 'superseded', 'alert', 'resume', 'terminate']

/** The message in a payload; undefined when it is none that this version writes. */
export function messageOf(payload: string): Message | undefined {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    return undefined
  }
  const { kind, requestId } = (value ?? {}) as { readonly kind?: unknown; readonly requestId?: unknown }
  return typeof requestId === 'string' && typeof kind === 'string' && KINDS.includes(kind)
    ? (value as Message)
    : undefined
}
