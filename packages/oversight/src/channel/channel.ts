import type { JsonObject, Requester, Verdict } from '@enablement/core'
import type { Risk } from '../policy/risk.ts'
import type { ContextStatus } from '../request/context-status.ts'

/** An approver as a channel sees them: with their address on that channel. */
export interface Addressee {
  readonly id: string
  readonly name: string
  readonly address: string
  /** Where else the person is reached on this channel, in order of preference: a second mailbox, for instance. */
  readonly alternatives: readonly string[]
}

/** What an approver is shown. */
export interface Invitation {
  /** The same for every attempt to deliver this invitation: what the provider's idempotency key should be. */
  readonly id: string
  /** A reminder repeats an invitation that was delivered before. */
  readonly kind: 'invitation' | 'reminder'
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly risk: Risk
  readonly summary: string
  /** As much of what would be done as messages may carry: what the action's `inMessages` schema leaves of it. */
  readonly excerpt: JsonObject
  /** Of what would be done, in full. A vote that comes from this message must name it. */
  readonly argumentHash: string
  /** 1, and one more for each edit. */
  readonly version: number
  readonly requestedBy: Requester
  /** How much the agent knew when it asked; undefined when it did not say. */
  readonly context: ContextStatus | undefined
  readonly approver: Addressee
  /** Which tier is asked, from 0. */
  readonly tier: number
  /** Which attempt to deliver it this is, from 1. */
  readonly attempt: number
  /** Of a reminder: what `deliver` returned for the invitation. */
  readonly receipt: string | undefined
  readonly openedAt: number
  /** When the next tier is asked, by the store's clock; the approver may still decide after that. */
  readonly escalatesAt: number | undefined
  /** When it is too late; undefined without a deadline. */
  readonly deadlineAt: number | undefined
}

/** Several invitations for one approver, so that a storm is one message. */
export interface Digest {
  /** The same for every attempt to deliver this digest. */
  readonly id: string
  readonly tenant: string
  readonly approver: Addressee
  /** At most 20, the oldest first. */
  readonly invitations: readonly Invitation[]
  /** How many more wait for this approver on this channel. */
  readonly more: number
}

/** Tells someone who was invited what became of the request, so that the invitation stops asking. */
export interface VerdictNotice {
  /** The same for every attempt to bring this notice, and another than the invitation's. */
  readonly id: string
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly summary: string
  readonly approver: Addressee
  /** What `deliver` returned for the invitation, or for the digest that it was a part of. */
  readonly receipt: string | undefined
  /**
   * `superseded`: what was asked was edited, and this invitation, to decide on `version`, no longer counts; another one
   * follows.
   */
  readonly verdict: Verdict | { readonly outcome: 'superseded'; readonly requestId: string; readonly version: number }
}

/** What a channel says about an invitation. */
export type DeliveryOutcome =
  /** It is with the approver. `receipt` is the channel's own reference, at most 1,024 characters, kept for `update`. */
  | { readonly outcome: 'delivered'; readonly receipt?: string }
  /** It will not get through to this approver: no such address, off duty, bounced. It is not tried again. */
  | { readonly outcome: 'unreachable'; readonly reason: string }
  /** Refused for now. Tried again after `afterMs` (or the usual pause), up to the bound of attempts. */
  | { readonly outcome: 'retry'; readonly reason: string; readonly afterMs?: number }
  /** Not attempted: a limit is used up. Tried again after `afterMs`; this was no attempt. */
  | { readonly outcome: 'postponed'; readonly reason: string; readonly afterMs: number }

/**
 * A way to reach approvers: Slack, e-mail, a pager, a terminal. It is called outside of any transaction, at least once
 * for each message: a worker that dies after the call makes another one repeat it under the same id. A throw means that
 * the outcome is not known; it is tried again a few times, then counts as unreachable.
 */
export interface Channel {
  /** Attempts at one invitation, postponed ones not counted: 4 unless given. */
  readonly attemptsMax?: number
  /**
   * Whether there is any point in trying, as far as the channel can tell without sending: presence, an address known to
   * bounce, a provider that is down. Without it, `deliver` finds out.
   */
  reachability?(
    approver: Addressee,
    options: { readonly signal: AbortSignal }
  ): Promise<{ readonly outcome: 'reachable' } | { readonly outcome: 'unreachable'; readonly reason: string }>
  /** Brings an invitation to an approver. The signal aborts when the time for it is up. */
  deliver(invitation: Invitation, options: { readonly signal: AbortSignal }): Promise<DeliveryOutcome>
  /** Brings several invitations at once. Without it each is delivered by itself, whatever their number. */
  digest?(digest: Digest, options: { readonly signal: AbortSignal }): Promise<DeliveryOutcome>
  /** Marks an invitation as answered, whoever answered it and wherever. Best effort; without it nothing is marked. */
  update?(notice: VerdictNotice, options: { readonly signal: AbortSignal }): Promise<void>
}
