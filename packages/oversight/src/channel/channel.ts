import type { JsonObject, Requester, Verdict } from '@enablement/core'

/** An approver as a channel sees them: with their address on that channel. */
export interface Addressee {
  readonly id: string
  readonly name: string
  readonly address: string
}

/** What an approver is shown. */
export interface Invitation {
  /** The same for every attempt to deliver this invitation: what the provider's idempotency key should be. */
  readonly id: string
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly summary: string
  /** What would be done. Show as much of it as the channel may carry. */
  readonly detail: JsonObject
  readonly requestedBy: Requester
  readonly approver: Addressee
  /** Which tier is asked, from 0. */
  readonly tier: number
  readonly openedAt: number
  /** When the next tier is asked, by the store's clock; the approver may still decide after that. */
  readonly escalatesAt: number | undefined
  /** When it is too late; undefined without a deadline. */
  readonly deadlineAt: number | undefined
}

/** Tells someone who was invited how the request ended, so that the invitation stops asking. */
export interface VerdictNotice {
  /** The same for every attempt to bring this notice, and another than the invitation's. */
  readonly id: string
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly summary: string
  readonly approver: Addressee
  /** What `deliver` returned for the invitation. */
  readonly receipt: string | undefined
  readonly verdict: Verdict
}

/** What a channel says about an invitation. */
export type DeliveryOutcome =
  /** It is with the approver. `receipt` is the channel's own reference, at most 1,024 characters, kept for `update`. */
  | { readonly outcome: 'delivered'; readonly receipt?: string }
  /** It will not get through to this approver: no such address, off duty, bounced. It is not tried again. */
  | { readonly outcome: 'unreachable'; readonly reason: string }

/**
 * A way to reach approvers: Slack, e-mail, a pager, a terminal. It is called outside of any transaction, at least once
 * for each message: a worker that dies after the call makes another one repeat it under the same id. A throw means that
 * the outcome is not known; it is tried again a few times, then counts as unreachable.
 */
export interface Channel {
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
  /** Marks an invitation as answered, whoever answered it and wherever. Best effort; without it nothing is marked. */
  update?(notice: VerdictNotice, options: { readonly signal: AbortSignal }): Promise<void>
}
