import type { Issue } from '@enablement/core'
import type { MeteringError } from '../metering-error.ts'

/** What became of one event. */
export type RecordOutcome =
  /** It is counted, once and for good. `at` is the time it is counted under: its own, or the consensus time in its place. */
  | {
      readonly outcome: 'recorded'
      readonly at: number
      /** When it was received less its own time: negative when its clock is ahead of ours. */
      readonly driftMs: number
    }
  /**
   * It is stored, after its period ended. `original-period`: counted, and still on that period's bill; `adjustment`:
   * counted, and on the next one, naming `period`; `manual-review`: not counted until somebody decides, see
   * `meter.reviews`.
   */
  | {
      readonly outcome: 'late'
      readonly resolution: 'original-period' | 'adjustment' | 'manual-review'
      readonly lateMs: number
      readonly period: { readonly from: number; readonly to: number }
    }
  /** It had been stored before, with the same payload; it was received first at `firstReceivedAt` (epoch ms). */
  | { readonly outcome: 'duplicate'; readonly firstReceivedAt: number }
  /** Another payload was stored under its identity. This one was not: someone must look at it. */
  | { readonly outcome: 'conflict'; readonly firstReceivedAt: number }
  /** Its time is further ahead than clocks may differ. It is kept, and can be released: see `meter.quarantine`. */
  | { readonly outcome: 'quarantined'; readonly driftMs: number }
  /** A store did not answer. The event is in the journal, durable, and is settled when the store is back. */
  | { readonly outcome: 'held'; readonly reason: HeldReason }
  /** It is not a usage event, and nothing was stored. */
  | { readonly outcome: 'rejected'; readonly issues: readonly Issue[] }
  /** Dedup could not answer, and `reject` was chosen for that. Nothing was stored: send it again. */
  | { readonly outcome: 'refused'; readonly reason: 'dedup-unknown'; readonly error: MeteringError<'STORE_FAILED'> }

/** Which store did not answer. */
export type HeldReason = 'dedup-unknown' | 'store-unavailable'

/** What became of one event of a batch. */
export type BatchOutcome =
  | RecordOutcome
  /** A store failed, or the journal did. Whether it is stored is not known; send it again, it will not be counted twice. */
  | { readonly outcome: 'unknown'; readonly error: MeteringError<'STORE_FAILED' | 'JOURNAL_FAILED'> }
