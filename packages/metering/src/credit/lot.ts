import type { Calendar } from '../calendar/calendar.ts'

/** Where a part of a grant came from: its beginning, a new period, the rest of one that ended, or a reversal. */
export type LotOrigin = 'granted' | 'renewed' | 'rolled-over' | 'restored'

/**
 * `pending` waits for its payment, `scheduled` for its time; `active` may be spent; the rest have ended. What comes back to
 * one that has ended ends too.
 */
export type LotState = 'pending' | 'scheduled' | 'active' | 'expired' | 'voided'

/** How a grant starts anew: in fixed steps from when it takes effect, or with the periods of a calendar. */
export type CreditRecurrence = { readonly everyMs: number } | { readonly calendar: Calendar }

/** What a grant says of all its lots. */
export interface GrantTerms {
  /** What each period brings, in the smallest unit. */
  readonly amount: number
  /** 0 is burnt first; 0 to 100. */
  readonly priority: number
  readonly category: 'paid' | 'promotional'
  /** What a unit cost, as plain decimal text; `0` when it was free. */
  readonly costBasis: string
  /** Metrics that it may pay for, sorted; none means all. */
  readonly metrics: readonly string[]
  readonly recurs?: CreditRecurrence
  /** Of what is left at the end, so much lives on once: to the end of the next period, or `forMs`, or for good. */
  readonly rollOver?: { readonly max: number; readonly forMs?: number }
  /** When the grant ends for good, exclusive, epoch milliseconds; null for never. */
  readonly endsAt: number | null
}

/**
 * A part of a grant with one life, [effectiveAt, expiresAt). Holds and charges are pinned to lots, so that what comes back
 * after a period has ended does not become part of the next. Amounts are integers of the smallest unit.
 */
export interface Lot {
  /** Unique in its wallet, in the order of creation. */
  readonly lot: number
  readonly grant: string
  readonly origin: LotOrigin
  readonly state: LotState
  readonly amount: number
  /** What a charge can take. */
  readonly free: number
  /** What holds have pinned. */
  readonly held: number
  /** Which of the wallet's lanes it belongs to. */
  readonly lane: number
  /** Its place in the burn order, as text whose bytes sort: unique in its wallet. */
  readonly burnKey: string
  readonly createdAt: number
  readonly effectiveAt: number
  /** Exclusive; null for never. */
  readonly expiresAt: number | null
  /** When it changes by itself; null for never. */
  readonly dueAt: number | null
  readonly terms: GrantTerms
}
