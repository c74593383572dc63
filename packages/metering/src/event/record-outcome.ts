import type { Issue } from '@enablement/core'
import type { MeteringError } from '../metering-error.ts'

/** What became of one event. */
export type RecordOutcome =
  /** It is counted, once and for good. */
  | { readonly outcome: 'recorded' }
  /** It had been counted before, with the same payload; it was received first at `firstReceivedAt` (epoch ms). */
  | { readonly outcome: 'duplicate'; readonly firstReceivedAt: number }
  /** Another payload was counted under its identity. This one was not: someone must look at it. */
  | { readonly outcome: 'conflict'; readonly firstReceivedAt: number }
  /** It is not a usage event; nothing was stored. */
  | { readonly outcome: 'rejected'; readonly issues: readonly Issue[] }

/** What became of one event of a batch. */
export type BatchOutcome =
  | RecordOutcome
  /** The store failed. Whether it is counted is not known; send it again, it will not be counted twice. */
  | { readonly outcome: 'unknown'; readonly error: MeteringError<'STORE_FAILED'> }
