/** What a customer is told about a payment that failed. Names and numbers: the words are the notifier's. */
export interface PaymentNotice {
  readonly tenant: string
  readonly subscription: string
  /** Where: `email` and `in-app` in the policy that is used unless another is given. */
  readonly channel: string
  /** What is unpaid, in the currency's minor unit. */
  readonly minorUnits: bigint
  readonly currency: string
  readonly invoices: readonly string[]
  /** When the first payment failed, and when service is restricted unless it is paid: epoch milliseconds. */
  readonly failedAt: number
  readonly restrictsAt: number
  /** The same at every attempt to send this notice, and at no other. */
  readonly idempotencyKey: string
}

/** Tells customers. Answered by the user; resolved means sent, or handed to what surely sends it. */
export interface Notifier {
  /**
   * Sends one notice. Called again with the same key when an attempt failed, or when its process died before it could say
   * that it was sent: a notifier that drops a repeated key sends each once.
   */
  notify(notice: PaymentNotice, options: { readonly signal: AbortSignal }): Promise<void>
}
