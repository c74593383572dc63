/** What a ledger knows of an identity. */
export interface FirstReceipt {
  readonly payloadHash: string
  /** Epoch milliseconds. */
  readonly receivedAt: number
}

/** Whether an event is new to a ledger. The ledger's unique index is the last word. */
export type DedupVerdict =
  | { readonly outcome: 'new' }
  /** The same event: same identity, same payload. */
  | { readonly outcome: 'duplicate'; readonly firstReceivedAt: number }
  /** Same identity, other payload. */
  | { readonly outcome: 'conflict'; readonly firstReceivedAt: number }

/** The verdict on an event whose identity was received before. */
export function judgeRepeat(payloadHash: string, first: FirstReceipt): DedupVerdict {
  return {
    outcome: payloadHash === first.payloadHash ? 'duplicate' : 'conflict',
    firstReceivedAt: first.receivedAt
  }
}

/** An event's identity as one string: JSON keeps the parts apart whatever they contain. */
export function identityKey(event: {
  readonly tenant: string
  readonly subscription: string
  readonly transactionId: string
}): string {
  return JSON.stringify([event.tenant, event.subscription, event.transactionId])
}
