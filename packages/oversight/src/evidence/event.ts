import type { Fact } from './fact.ts'

/** What `observe` is told of: every fact, after it was committed, and failures that are retried. */
export type OversightEvent =
  | (Fact & { readonly requestId: string; readonly tenant: string; readonly action: string })
  /** A channel or the directory threw or ran out of time. The delivery is tried again, up to a bound. */
  | {
      readonly type: 'delivery.failed'
      readonly requestId: string
      readonly deliveryId: string
      readonly channel: string
      readonly error: unknown
    }
  /** One request could not be taken on; the others were. It is tried again at the next run. */
  | { readonly type: 'duty.failed'; readonly duty: string; readonly requestId: string; readonly error: unknown }
  /** Someone waits for a verdict and the store did not answer; it is asked again. */
  | { readonly type: 'wait.store-unavailable'; readonly requestId: string; readonly error: unknown }
