import type { UsageIdentity } from '../event/usage-event.ts'

/** What a ledger knows of an identity. */
export interface FirstReceipt {
  readonly payloadHash: string
  /** Epoch milliseconds. */
  readonly receivedAt: number
}

/** An event of an identity that was received before. */
export type Repeat =
  /** The same event: same identity, same payload. */
  | { readonly outcome: 'duplicate'; readonly firstReceivedAt: number }
  /** Same identity, other payload. */
  | { readonly outcome: 'conflict'; readonly firstReceivedAt: number }

/** Whether an event is new to a ledger. The ledger's unique index is the last word. */
export type DedupVerdict = { readonly outcome: 'new' } | Repeat

/** The verdict on an event whose identity was received before. */
export function judgeRepeat(payloadHash: string, first: FirstReceipt): Repeat {
  return {
    outcome: payloadHash === first.payloadHash ? 'duplicate' : 'conflict',
    firstReceivedAt: first.receivedAt
  }
}

/** An event's identity as one string: the lengths keep the parts apart whatever they contain. */
export function identityKey({ tenant, subscription, transactionId }: UsageIdentity): string {
  return `${tenant.length}:${subscription.length}:${tenant}${subscription}${transactionId}`
}
