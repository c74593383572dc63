import type { HeldReason } from '../event/record-outcome.ts'
import type { MeteringError } from '../metering-error.ts'

/** Whose usage an event is about. */
export interface WhoseUsage {
  readonly tenant: string
  readonly subscription: string
}

/** What a meter tells of the events it was given, by `type`. */
export type IntakeEvent =
  /** Counted, once and for good. */
  | (WhoseUsage & {
      readonly type: 'usage.recorded'
      readonly metric: string
      readonly quantity: number
      /** `adjustment`: not on its own period's bill, but on the next. */
      readonly lateness: 'on-time' | 'grace' | 'adjustment'
    })
  | (WhoseUsage & {
      readonly type: 'usage.duplicated' | 'usage.conflicted'
      readonly transactionId: string
      readonly firstReceivedAt: number
    })
  /** Kept and not counted until somebody decides: `quarantine` and `reviews` of the meter. */
  | (WhoseUsage & {
      readonly type: 'usage.set-aside'
      readonly transactionId: string
      readonly reason: 'quarantine' | 'review'
      readonly driftMs: number
    })
  /** Somebody decided. */
  | (WhoseUsage & {
      readonly type: 'usage.settled'
      readonly transactionId: string
      readonly from: 'quarantine' | 'review'
      readonly as: 'counted' | 'discarded' | 'review'
    })
  /** A store did not answer: the event waits in the journal, and is told of again when it is settled. */
  | (WhoseUsage & { readonly type: 'usage.held'; readonly transactionId: string; readonly reason: HeldReason })
  /** Dedup did not answer, and such events are to be refused. */
  | (WhoseUsage & { readonly type: 'usage.refused'; readonly transactionId: string })
  /** `paths` names the fields that were refused. Whose event it was is not known: nothing in it can be trusted. */
  | { readonly type: 'usage.rejected'; readonly paths: readonly string[] }
  | { readonly type: 'usage.store-failed'; readonly error: MeteringError<'STORE_FAILED'> }
  /** The journal took no more: events are refused, with `JOURNAL_FAILED`, until it does again. */
  | { readonly type: 'usage.journal-failed'; readonly error: MeteringError<'JOURNAL_FAILED'> }
