import type { MeteringError } from '../metering-error.ts'

/** What dedup tells, by `type`. */
export type DedupEvent =
  /** The dedup store failed, or the policy did not let it be asked. What it was asked is `unknown`; nothing is lost. */
  { readonly type: 'dedup.store-failed'; readonly error: MeteringError<'STORE_FAILED'> }
