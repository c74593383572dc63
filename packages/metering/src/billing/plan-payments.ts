import { z } from 'zod'

/** What is to be paid at a change. */
export interface PlanPayment {
  readonly tenant: string
  readonly subscription: string
  /** The same key is the same payment, however often it is asked for: pass it on to whoever collects. */
  readonly idempotencyKey: string
  readonly currency: string
  /** Tax included. Positive. */
  readonly minorUnits: bigint
}

/** What became of a payment. */
export type PlanPaymentAnswer =
  | { readonly outcome: 'paid'; readonly reference: string }
  | { readonly outcome: 'declined'; readonly reason: string }

/**
 * Collects money. A throw, or an answer of another form, means that nobody knows whether it was paid; the same payment is
 * then asked for again.
 */
export interface PlanPayments {
  collect(payment: PlanPayment, options: { readonly signal?: AbortSignal }): Promise<PlanPaymentAnswer>
}

/** What else an answer says is not looked at. */
export const paymentAnswerSchema: z.ZodType<PlanPaymentAnswer> = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('paid'), reference: z.string() }),
  z.object({ outcome: z.literal('declined'), reason: z.string() })
])
