import type { MeteringError } from '../metering-error.ts'

/** What billing tells an observer. */
export type BillingEvent =
  | {
      readonly type: 'invoice.finalized'
      readonly tenant: string
      readonly subscription: string
      readonly invoice: string
      readonly currency: string
      readonly minorUnits: bigint
    }
  /** The period's invoice could not be made; it is tried again after `retryInMs`. Alert on it. */
  | {
      readonly type: 'invoice.failed'
      readonly tenant: string
      readonly subscription: string
      readonly retryInMs: number
      readonly error: unknown
    }
  /** Late usage names a period that the account's calendar does not have: it was changed. Nobody bills it. */
  | {
      readonly type: 'invoice.late-usage-unmatched'
      readonly tenant: string
      readonly subscription: string
      readonly periodAt: number
    }
  /** An adjustment in another currency than the invoice's waits on: an invoice has one. */
  | {
      readonly type: 'invoice.currency-mismatched'
      readonly tenant: string
      readonly subscription: string
      readonly currency: string
    }
  | {
      readonly type:
        | 'plan.changed'
        | 'plan.change-scheduled'
        | 'plan.change-declined'
        | 'plan.end-scheduled'
        | 'plan.ended'
      readonly tenant: string
      readonly subscription: string
      readonly plan: string
    }
  | {
      readonly type: 'plan.renewed'
      readonly tenant: string
      readonly subscription: string
      readonly plan: string
      readonly periodAt: number
    }
  /** Whether a change was paid is not known. It is asked for again under the same key. */
  | {
      readonly type: 'plan.payment-unknown'
      readonly tenant: string
      readonly subscription: string
      readonly error: unknown
    }
  /** A period could not be ended, or a payment not be settled; it is tried again after `retryInMs`. Alert on it. */
  | {
      readonly type: 'plan.duty-failed'
      readonly tenant: string
      readonly subscription: string
      readonly retryInMs: number
      readonly error: unknown
    }
  | { readonly type: 'billing.store-failed'; readonly error: MeteringError<'STORE_FAILED'> }
