import type { Fact } from './evidence/fact.ts'
import type { GrantFact } from './grant/grant-fact.ts'
import type { Message } from './request/message.ts'

/** What `observe` is told of: every fact, after it was committed, and failures that are retried. */
export type OversightEvent =
  | (Fact & { readonly requestId: string; readonly tenant: string; readonly action: string })
  /** A channel, a port or the directory threw or ran out of time. It is tried again, up to a bound. */
  | {
      readonly type: 'delivery.failed'
      readonly requestId: string
      readonly kind: Message['kind']
      readonly channel: string | undefined
      readonly error: unknown
    }
  /** A standing grant was issued, used or revoked. */
  | (GrantFact & { readonly tenant: string })
  /** The target of an execution in doubt did not say what became of it. It is asked again, up to a bound. */
  | { readonly type: 'reconcile.failed'; readonly requestId: string; readonly error: unknown }
  /** The directory did not say who sits in a tier. It is asked again every 5 s. */
  | { readonly type: 'directory.failed'; readonly tenant: string; readonly error: unknown }
  /** One request could not be taken on; the others were. It is tried again at the next run. */
  | { readonly type: 'duty.failed'; readonly duty: string; readonly requestId: string; readonly error: unknown }
  /** Someone waits for a verdict and the store did not answer; it is asked again. */
  | { readonly type: 'wait.store-unavailable'; readonly requestId: string; readonly error: unknown }
