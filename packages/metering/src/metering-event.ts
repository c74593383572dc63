import type { MeteringError } from './failure/metering-error.ts'

/** What metering tells an observer, by `kind`. Names and numbers, never an event's properties. */
export type MeteringEvent =
  | {
      readonly kind: 'usage-recorded'
      readonly tenant: string
      readonly subscription: string
      readonly metric: string
      readonly quantity: number
    }
  | {
      readonly kind: 'usage-duplicate' | 'usage-conflict'
      readonly tenant: string
      readonly subscription: string
      readonly transactionId: string
      readonly firstReceivedAt: number
    }
  /** `paths` names the fields that were refused. Whose event it was is not known: nothing in it can be trusted. */
  | { readonly kind: 'usage-rejected'; readonly paths: readonly string[] }
  | { readonly kind: 'usage-store-failed'; readonly error: MeteringError<'STORE_FAILED'> }
  | {
      readonly kind: 'quota-consumed' | 'quota-refused'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      readonly remaining: number
      /** Monotonic time that the decision took. */
      readonly elapsedMs: number
    }
  | {
      readonly kind: 'quota-conflict'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      readonly firstAmount: number
    }
  | {
      readonly kind: 'quota-unavailable'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      /** Whether the posture lets the call go on without a decision. */
      readonly allowed: boolean
      readonly error: MeteringError<'STORE_FAILED'>
    }

/** Is told what happens, after it happened. */
export type MeteringObserver = (event: MeteringEvent) => void

/**
 * Tells the observer, if there is one. What it throws goes nowhere: the usage is already recorded, and an error would
 * say that it is not.
 */
export function notify(observe: MeteringObserver | undefined, event: MeteringEvent): void {
  if (observe === undefined) return
  try {
    observe(event)
  } catch {
    // The observer's own failure, see above.
  }
}
