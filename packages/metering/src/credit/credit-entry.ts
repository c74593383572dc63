/**
 * What an entry moves. `promised` is granted and not yet usable, `granted` is usable at once; `captured` is a hold's part
 * that was used, `returned` its rest; `settled` pays off the overdraft, `repaid` is an overdraft that was reversed.
 */
export type CreditEntryKind =
  | 'promised'
  | 'activated'
  | 'cancelled'
  | 'granted'
  | 'charged'
  | 'held'
  | 'captured'
  | 'returned'
  | 'reversed'
  | 'expired'
  | 'voided'
  | 'rolled-over'
  | 'restored'
  | 'settled'
  | 'overdrawn'
  | 'repaid'

/** The call that an entry belongs to; `time` for what happened because its time had come. */
export type CreditCallKind =
  | 'grant'
  | 'activate'
  | 'void'
  | 'charge'
  | 'hold'
  | 'commit'
  | 'release'
  | 'reverse'
  | 'time'

/** One movement in a wallet's ledger, which is only ever added to. */
export interface LedgerEntry {
  /** 1, 2, 3 … without gaps within the wallet. */
  readonly sequence: number
  readonly kind: CreditEntryKind
  /** The lot that it moves; null for the overdraft. */
  readonly lot: number | null
  readonly grant: string | null
  /** In the smallest unit, more than 0. */
  readonly amount: number
  /** What is free less what is owed, after it. */
  readonly balance: number
  readonly call: CreditCallKind
  /** The charge, hold, grant or reversal, by its key. */
  readonly reference: string
  /** When it took effect: for an expiry the instant of the expiry, however late it was booked. */
  readonly at: number
  readonly bookedAt: number
}

/** How an entry changes the wallet, in multiples of its amount; what it does to `free` and `held` it does to its lot's. */
export const EFFECTS: Readonly<
  Record<
    CreditEntryKind,
    { readonly waiting?: 1 | -1; readonly free?: 1 | -1; readonly held?: 1 | -1; readonly owed?: 1 | -1 }
  >
> = {
  promised: { waiting: 1 },
  activated: { waiting: -1, free: 1 },
  cancelled: { waiting: -1 },
  granted: { free: 1 },
  charged: { free: -1 },
  held: { free: -1, held: 1 },
  captured: { held: -1 },
  returned: { held: -1, free: 1 },
  reversed: { free: 1 },
  expired: { free: -1 },
  voided: { free: -1 },
  'rolled-over': { free: -1 },
  restored: { free: -1 },
  settled: { free: -1, owed: -1 },
  overdrawn: { owed: 1 },
  repaid: { owed: -1 }
}
