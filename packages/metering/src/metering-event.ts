import type { MeteringError } from './metering-error.ts'

/** What metering tells an observer, by `type`. Names and numbers, never an event's properties. */
export type MeteringEvent =
  | {
      readonly type: 'usage.recorded'
      readonly tenant: string
      readonly subscription: string
      readonly metric: string
      readonly quantity: number
    }
  | {
      readonly type: 'usage.duplicated' | 'usage.conflicted'
      readonly tenant: string
      readonly subscription: string
      readonly transactionId: string
      readonly firstReceivedAt: number
    }
  /** `paths` names the fields that were refused. Whose event it was is not known: nothing in it can be trusted. */
  | { readonly type: 'usage.rejected'; readonly paths: readonly string[] }
  | { readonly type: 'usage.store-failed'; readonly error: MeteringError<'STORE_FAILED'> }
  | {
      readonly type: 'quota.consumed'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      readonly remaining: number
      /** By an earlier call with the same key: a sum of what is consumed leaves these out. */
      readonly replayed: boolean
      /** Monotonic time that the decision took. */
      readonly elapsedMs: number
    }
  | {
      readonly type: 'quota.refused'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      readonly remaining: number
      readonly elapsedMs: number
    }
  | {
      readonly type: 'quota.conflicted'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      readonly firstAmount: number
    }
  | {
      readonly type: 'quota.unavailable'
      readonly tenant: string
      readonly limit: string
      readonly amount: number
      /** Whether the posture lets the call go on without a decision. */
      readonly allowed: boolean
      readonly error: MeteringError<'STORE_FAILED'>
    }

/**
 * Is told what happens, after it happened. What it throws goes nowhere: the usage is recorded by then, and an error would
 * say that it is not.
 */
export type MeteringObserver = (event: MeteringEvent) => void
