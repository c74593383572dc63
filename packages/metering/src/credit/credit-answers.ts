import type { LotOrigin } from './lot.ts'

/** What one grant paid, or the overdraft; amounts as `Amount` has them: integers inside, decimal text at the edge. */
export interface PaidBy<Amount> {
  /** Null for the overdraft. */
  readonly grant: string | null
  /** Which part of the grant: its beginning, a later period, what was rolled over or restored. Null for the overdraft. */
  readonly origin: LotOrigin | null
  readonly amount: Amount
}

/** Less than was asked for is there. Nothing was changed, and nothing is remembered under the key. */
export interface InsufficientCredits<Amount> {
  readonly outcome: 'insufficient-credits'
  readonly requested: Amount
  /** What could be taken now, the overdraft's room included. */
  readonly available: Amount
}

/** The key was used for another call. Nothing was changed. */
export interface CreditConflict {
  readonly outcome: 'conflict'
  readonly key: string
}

/** All that the wallet has, and this, would exceed 9e15 of the smallest unit. Nothing was changed. */
export interface WalletFull {
  readonly outcome: 'wallet-full'
}

export type GrantAnswer<Amount> =
  | {
      readonly outcome: 'granted'
      /** `pending` waits for `activate`, `scheduled` for its time. */
      readonly state: 'pending' | 'scheduled' | 'active'
      readonly effectiveAt: number
      /** When its first period ends, exclusive; null for never. */
      readonly expiresAt: number | null
      /** What of it paid the overdraft at once. */
      readonly settled: Amount
      readonly replayed: boolean
    }
  /** It would have ended before it began. Nothing was changed. */
  | { readonly outcome: 'expired'; readonly expiresAt: number }
  | CreditConflict
  | WalletFull

export type ActivateAnswer =
  | { readonly outcome: 'activated'; readonly state: 'scheduled' | 'active'; readonly replayed: boolean }
  /** It was voided, or its time is over. */
  | { readonly outcome: 'ended' }
  | { readonly outcome: 'unknown-grant' }

export type VoidAnswer<Amount> =
  | { readonly outcome: 'voided'; readonly amount: Amount; readonly replayed: boolean }
  | InsufficientCredits<Amount>
  | CreditConflict
  | { readonly outcome: 'unknown-grant' }

export type ChargeAnswer<Amount> =
  | {
      readonly outcome: 'charged'
      readonly amount: Amount
      /** Which grants paid how much, in the order in which they were drawn. */
      readonly fundings: readonly PaidBy<Amount>[]
      /** The part that the overdraft paid. */
      readonly overdrawn: Amount
      /** What the wallet has, less what it owes, after it. */
      readonly balance: Amount
      readonly replayed: boolean
    }
  | InsufficientCredits<Amount>
  | CreditConflict
  | WalletFull

export type CreditHoldAnswer<Amount> =
  | {
      readonly outcome: 'held'
      readonly amount: Amount
      readonly fundings: readonly PaidBy<Amount>[]
      /** When it lapses, by the store's clock. */
      readonly expiresAt: number
      readonly replayed: boolean
    }
  /** The hold with this key has ended. */
  | { readonly outcome: 'ended'; readonly how: 'committed' | 'released' | 'lapsed' }
  | InsufficientCredits<Amount>
  | CreditConflict

export type CommitAnswer<Amount> =
  | {
      readonly outcome: 'committed'
      readonly amount: Amount
      readonly fundings: readonly PaidBy<Amount>[]
      /** What went back to the grants that the hold had pinned. */
      readonly returned: Amount
      /** The part that no grant could pay, and is owed. */
      readonly overdrawn: Amount
      /** The part that no grant could pay, and is not owed either: `onOverrun: 'waive'`. */
      readonly waived: Amount
      /** The hold had lapsed before: all of it came from what was free at the commit. */
      readonly late: boolean
      readonly balance: Amount
      readonly replayed: boolean
    }
  /** It was committed before with another amount. Nothing was changed. */
  | { readonly outcome: 'conflict'; readonly firstAmount: Amount }
  | { readonly outcome: 'released' }
  | { readonly outcome: 'unknown-hold' }
  | WalletFull

export type ReleaseAnswer<Amount> =
  | { readonly outcome: 'released'; readonly lapsed: boolean; readonly replayed: boolean }
  | { readonly outcome: 'committed'; readonly amount: Amount }
  | { readonly outcome: 'unknown-hold' }

export type CreditExtendAnswer<Amount> =
  | { readonly outcome: 'held'; readonly expiresAt: number }
  | { readonly outcome: 'released'; readonly lapsed: boolean }
  | { readonly outcome: 'committed'; readonly amount: Amount }
  | { readonly outcome: 'unknown-hold' }

export type ReverseAnswer<Amount> =
  | {
      readonly outcome: 'reversed'
      readonly amount: Amount
      /** To which grants, in the order in which they got it: that of the charge, backwards. */
      readonly returned: readonly PaidBy<Amount>[]
      /** What of the charge can still be reversed. */
      readonly reversible: Amount
      readonly balance: Amount
      readonly replayed: boolean
    }
  /** More than is left of the charge. Nothing was changed. */
  | { readonly outcome: 'exceeds-charge'; readonly requested: Amount; readonly reversible: Amount }
  | { readonly outcome: 'unknown-charge' }
  | CreditConflict
  | WalletFull
