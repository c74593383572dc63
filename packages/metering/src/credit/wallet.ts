import type { Calendar } from '../calendar/calendar.ts'
import type { BurnOrder } from './burn-order.ts'
import type {
  ActivateAnswer,
  ChargeAnswer,
  CommitAnswer,
  CreditExtendAnswer,
  CreditHoldAnswer,
  GrantAnswer,
  InsufficientCredits,
  ReleaseAnswer,
  ReverseAnswer,
  VoidAnswer
} from './credit-answers.ts'
import type { CreditCallKind, CreditEntryKind } from './credit-entry.ts'
import type { CreditUnit } from './credit-unit.ts'

/** Credits to add. Amounts are plain decimal text, with no more digits than the unit has. */
export interface CreditGrant {
  /** Names the grant in its wallet, and is its idempotency key: the payment, the plan's period, the campaign. */
  readonly id: string
  readonly amount: string
  /** 0 is burnt first; 0 to 100, 50 unless given. Which orders go by it the burn order says. */
  readonly priority?: number
  /** From when it may be spent, epoch milliseconds; now, by the store's clock, unless given. */
  readonly effectiveAt?: number
  /** When it ends, exclusive, epoch milliseconds; never unless given. */
  readonly expiresAt?: number
  /** `paid` unless given. */
  readonly category?: 'paid' | 'promotional'
  /** What a unit cost, as plain decimal text; `0` unless given. */
  readonly costBasis?: string
  /** Metrics that it may pay for, 1 to 16; all unless given. */
  readonly metrics?: readonly string[]
  /** `pending`: not to be spent before `activate` says that it was paid. `settled` unless given. */
  readonly payment?: 'settled' | 'pending'
  /** Brings the amount anew in each period, until `expiresAt`; what is left of the one before expires. */
  readonly recurs?: { readonly everyMs: number } | { readonly calendar: Calendar }
  /**
   * Up to `max` of what is left at the end lives on once: to the end of the next period when it recurs; otherwise, and
   * when it is given, `forMs`, or for good.
   */
  readonly rollOver?: { readonly max: string; readonly forMs?: number }
}

/** What every call of a wallet takes. */
export interface WalletCallOptions {
  readonly signal?: AbortSignal
}

/** How a wallet stands. Amounts are decimal text. */
export interface WalletBalance {
  /** `free - owed`: what there is, or the negative of what is missing. */
  readonly balance: string
  /** What charges without a metric and charges of any metric could take from grants together. */
  readonly free: string
  /** What a charge could take from grants: of the metric asked for, or of none. */
  readonly spendable: string
  readonly held: string
  /** Granted, and not yet usable. */
  readonly waiting: string
  readonly owed: string
  readonly burnOrder: BurnOrder
  /** By the store's clock, epoch milliseconds. */
  readonly at: number
}

/** One movement. Adding all of them up gives the balance: `deriveWallet`. */
export interface CreditEntry {
  readonly sequence: number
  readonly kind: CreditEntryKind
  readonly grant: string | null
  readonly amount: string
  readonly balance: string
  readonly call: CreditCallKind
  readonly reference: string
  readonly at: number
  readonly bookedAt: number
}

/**
 * Credits of one account in one unit.
 *
 * Every call that changes something is idempotent by its key: sent again it changes nothing and gives the first answer,
 * with `replayed`. Refusals change nothing and are not remembered. Keys are kept as long as the ledger is.
 *
 * All throw `INVALID_OPTIONS` for malformed input (an amount that is no decimal text, with too many digits, not more than
 * 0 or beyond 9e15 of the smallest unit, with its path), `UNIT_MISMATCH`, `STORE_FAILED`, and the signal's reason.
 */
export interface Wallet {
  readonly unit: CreditUnit
  /** Adds credits. Throws `TOO_MANY_SCOPES`. */
  grant(grant: CreditGrant, options?: WalletCallOptions): Promise<GrantAnswer<string>>
  /** The payment of a pending grant has succeeded. */
  activate(grant: string, options?: WalletCallOptions): Promise<ActivateAnswer>
  /** Takes back what is left of a grant, or an amount of it, all or nothing; of a pending grant, cancels it. */
  void(
    grant: string,
    options: WalletCallOptions & { readonly idempotencyKey: string; readonly amount?: string }
  ): Promise<VoidAnswer<string>>
  /**
   * Takes the amount in the wallet's burn order, all or nothing. What has expired by the store's clock, now, cannot pay.
   * Throws `CREDITS_FRAGMENTED` when more than 5,000 grants would pay.
   */
  charge(
    amount: string,
    options: WalletCallOptions & { readonly idempotencyKey: string; readonly metric?: string }
  ): Promise<ChargeAnswer<string>>
  /**
   * Pins grants for an amount that is not known yet, for `ttlMs`: what expires meanwhile can still be committed. Charges
   * and holds share their keys. Throws `CREDITS_FRAGMENTED`.
   */
  hold(
    amount: string,
    options: WalletCallOptions & { readonly idempotencyKey: string; readonly ttlMs: number; readonly metric?: string }
  ): Promise<CreditHoldAnswer<string>>
  /**
   * Ends a hold with what was used, 0 or more; it is then a charge of its key, which can be reversed. The rest goes back to
   * the same grants: of one that has expired, it expires. More than was held is taken from what is free, and what no grant
   * can pay goes by `onOverrun`. So does all of a commit that comes after the hold has lapsed: usage is billed.
   */
  commit(hold: string, amount: string, options?: WalletCallOptions): Promise<CommitAnswer<string>>
  release(hold: string, options?: WalletCallOptions): Promise<ReleaseAnswer<string>>
  extend(hold: string, options: WalletCallOptions & { readonly ttlMs: number }): Promise<CreditExtendAnswer<string>>
  /** Takes back a charge, or what is left of it, to the grants that paid, the last first. */
  reverse(
    charge: string,
    options: WalletCallOptions & { readonly idempotencyKey: string; readonly amount?: string }
  ): Promise<ReverseAnswer<string>>
  /** Whether a charge would be paid now. Reserves nothing. */
  quote(
    amount: string,
    options?: WalletCallOptions & { readonly metric?: string }
  ): Promise<{ readonly outcome: 'sufficient'; readonly available: string } | InsufficientCredits<string>>
  balance(options?: WalletCallOptions & { readonly metric?: string }): Promise<WalletBalance>
  /** The ledger by sequence, `limit` (1 to 1,000, 100 unless given) after the sequence given. */
  entries(
    options?: WalletCallOptions & { readonly after?: number; readonly limit?: number }
  ): Promise<readonly CreditEntry[]>
}
