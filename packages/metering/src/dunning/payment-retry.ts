/** One attempt to collect what is unpaid. */
export interface PaymentAttempt {
  readonly tenant: string
  readonly subscription: string
  readonly invoices: readonly string[]
  /** In the currency's minor unit. */
  readonly minorUnits: bigint
  readonly currency: string
  /** 1 for the first retry. */
  readonly attempt: number
  /**
   * The same when an attempt is repeated whose answer was lost, and at no other attempt. Hand it to the payment provider:
   * without it a customer may pay twice.
   */
  readonly idempotencyKey: string
}

/** How an attempt ended. A throw means: not known, and it is made again with the same key. */
export type PaymentAnswer =
  | { readonly outcome: 'paid' }
  | { readonly outcome: 'declined'; readonly reason?: string }
  /** The provider tells later: whoever hears of it calls `dunning.succeeded` or leaves it to the next attempt. */
  | { readonly outcome: 'pending' }

/** Collects payments. Answered by the user. */
export interface PaymentRetry {
  retry(attempt: PaymentAttempt, options: { readonly signal: AbortSignal }): Promise<PaymentAnswer>
}
