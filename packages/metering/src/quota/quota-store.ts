import type { Charge, CounterName } from './charge.ts'

/**
 * Spends from the same counters. Callers keep one `charges` array for a quota as long as its rules do not change, so a
 * store may keep what it derives from it in a `WeakMap`.
 */
export interface SpendGroup {
  /** Names the quota among the tenant's: idempotency keys are unique within it. */
  readonly scope: string
  /**
   * From the innermost level outwards; 1 to `CHARGES_MAX`, no counter twice. Spends pass `concurrent` counters by, and at
   * least one must be another.
   */
  readonly charges: readonly Charge[]
  /** Integers in [1, 9e15], decided in this order, each for itself. */
  readonly amounts: readonly number[]
  /** For each amount its idempotency key, or undefined; all undefined when absent. */
  readonly keys?: readonly (string | undefined)[]
  /** How long a spend is remembered under its key, in milliseconds from the spend. */
  readonly idempotencyMs: number
}

/** Less than the amount is there at one of the counters. Nothing was changed, and nothing is remembered under the key. */
export interface Refusal {
  readonly outcome: 'refused'
  /** Index in `charges` of the first counter that has too little. */
  readonly charge: number
  /** What that counter has left, at least 0. */
  readonly remaining: number
  /**
   * The earliest instant at which every counter that refused could have enough if nobody else spent meanwhile, epoch
   * milliseconds; null when waiting alone does not help: the amount is more than the quantity without what is reserved
   * for others, the counter never starts anew, or units come back only when holds end. For a bucket of which parts are
   * reserved, which fill at the same time, it is an instant at which there is enough, not always the earliest.
   */
  readonly retryAt: number | null
}

/** The store's clock is outside the calendar windows that the caller expected. Nothing was changed. */
export interface Elsewhere {
  readonly outcome: 'elsewhere'
  /** The store's clock, epoch milliseconds: ask again with windows around it. */
  readonly now: number
}

/** The key was used for another amount. Nothing was changed. */
export interface KeyConflict {
  readonly outcome: 'conflict'
  readonly firstAmount: number
}

/** What a store answers to one spend. */
export type SpendAnswer =
  /** The amount was spent from every counter: now, or by the first call with this key, whose answer this is. */
  | {
      readonly outcome: 'consumed'
      /** The least that any of the counters has left. */
      readonly remaining: number
      /** When the counter that has least left has its full quantity again, epoch milliseconds; null when it never does. */
      readonly resetsAt: number | null
      readonly replayed: boolean
    }
  | Refusal
  | KeyConflict
  | Elsewhere

/** Units to be set aside for an amount that is not known yet. */
export interface HoldRequest {
  readonly scope: string
  /** Names the hold within its scope. */
  readonly key: string
  readonly charges: readonly Charge[]
  /** Integer in [1, 9e15]. */
  readonly amount: number
  /** What is taken when not all of `amount` is there; `amount` for all or nothing, 1 for a lease. */
  readonly amountMin: number
  /** How long the units are held, in milliseconds. */
  readonly ttlMs: number
  /**
   * What becomes of units that nobody settled in time: `returned` gives them back; `spent` counts them as used, because
   * whoever held them may have used them without saying so.
   */
  readonly onExpiry: 'returned' | 'spent'
  /** How long its expiry is remembered, in milliseconds from when a call found that it had expired. */
  readonly keepMs: number
}

export type HoldAnswer =
  | {
      readonly outcome: 'held'
      readonly amount: number
      /** Epoch milliseconds, by the store's clock. */
      readonly expiresAt: number
      /** The store's clock when it answered: `expiresAt - now` is how long the holder has. */
      readonly now: number
      /** An earlier call with this key made it. */
      readonly replayed: boolean
    }
  /** The hold with this key has ended. */
  | HoldEnd
  | Refusal
  | KeyConflict
  | Elsewhere

/** How a hold ended. */
export interface HoldEnd {
  readonly outcome: 'settled'
  /** What was used, as the settlement said; 0 when it was released or expired and was returned. */
  readonly actual: number
  /** The part of `actual` that counters took. */
  readonly charged: number
  /** The part of `actual` beyond what was held and what was left: used, and in no counter. `charged + overrun = actual`. */
  readonly overrun: number
  /** It had expired before. */
  readonly expired: boolean
  /** An earlier call settled it: this is the first end. */
  readonly replayed: boolean
}

export interface SettleRequest {
  readonly scope: string
  readonly key: string
  /** The counters that the hold drew on. What it gives back goes to those, whatever is said here. */
  readonly charges: readonly Charge[]
  /**
   * Integer in [0, 9e15]. Less than was held gives the rest back, into the window it was taken from and no later one. More
   * takes the difference from what is left, as far as it goes; the rest is `overrun`. Outside of the boundaries of a
   * charge nothing is known to be left. A bucket fills with what was used from now on. A concurrent counter gets
   * everything back.
   *
   * A hold that expired and was returned is charged all the same, as far as there is any left. One that expired and was
   * spent is corrected, except that a bucket gets nothing back: that may have come back already.
   */
  readonly actual: number
  /** How long its end is remembered, in milliseconds from the end. */
  readonly keepMs: number
}

export type SettleAnswer =
  | HoldEnd
  /** Another `actual` was settled before. Nothing was changed. */
  | { readonly outcome: 'conflict'; readonly firstActual: number }
  /** No hold of this key is known: it was never made, or its end has been forgotten. Nothing was changed. */
  | { readonly outcome: 'unknown-hold' }

export interface ExtendRequest {
  readonly scope: string
  readonly key: string
  readonly charges: readonly Charge[]
  /** From now, in milliseconds; a hold is never shortened. */
  readonly ttlMs: number
  /**
   * The hold's amount afterwards, in [0, 9e15]; 0, or less than it is, leaves it. Absolute, so that a call whose answer was
   * lost can be repeated. All of the difference or nothing: a refusal gives no more time either.
   */
  readonly amount: number
}

export type ExtendAnswer =
  | { readonly outcome: 'held'; readonly amount: number; readonly expiresAt: number; readonly now: number }
  | HoldEnd
  | Refusal
  | Elsewhere
  | { readonly outcome: 'unknown-hold' }

/** How a counter stands. */
export interface CounterReading extends CounterName {
  readonly quantity: number
  /** Used and held together, in the running window. */
  readonly used: number
  /** The part of `used` that is held: it may come back. */
  readonly held: number
  /** What a spend could take, at least 0: what is reserved for others is not there. */
  readonly remaining: number
  /**
   * When it has its full quantity again if nobody else spends and all holds end now, epoch milliseconds: the window's end,
   * or when a stretch or a bucket has got everything back, which may be now. Null when it never starts anew.
   */
  readonly resetsAt: number | null
}

/** A hold whose time is over and that nobody has ended. */
export interface ExpiredHold {
  readonly tenant: string
  readonly scope: string
  readonly key: string
}

/** What a quota store can promise. */
export interface QuotaStoreSupports {
  /** What an answered spend survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
  /** Whether processes share its counters. */
  readonly shared: boolean
  /**
   * Whether it is worth calling `consume` again for a tenant before it has answered: half of what waits is on its way while
   * the other half is decided. Otherwise the fewer calls the better.
   */
  readonly pipelined: boolean
}

/**
 * Counters that are checked and spent from in one atomic step, along a whole path.
 *
 * Every method throws an error of the suite when the store failed. Whether it had an effect is then not known; with an
 * idempotency key (all but keyless spends have one) the same call again finds out and has no second one.
 *
 * How counters count is told at `CounterState`. What an expired hold gives back is there for the tenant's next call: each
 * ends up to 256 expired holds, the oldest first, before it decides. `endExpired` gives back what nobody asked for.
 *
 * Every method throws `INVALID_AMOUNT` and `INVALID_OPTIONS` for what its request may not be, and has then changed nothing.
 */
export interface QuotaStore {
  readonly supports: QuotaStoreSupports
  /**
   * Decides each spend of each group; a spend draws on all of its counters or on none. Never sells more than a quantity
   * in a window, however many call at once. A key whose spend is remembered gets the first answer and spends nothing, in
   * whichever window the first one was. At most `SPENDS_MAX` spends.
   */
  consume(
    tenant: string,
    groups: readonly SpendGroup[],
    options?: { readonly signal?: AbortSignal }
  ): Promise<readonly (readonly SpendAnswer[])[]>
  /** Sets units aside. A refusal changes nothing. */
  hold(tenant: string, request: HoldRequest, options?: { readonly signal?: AbortSignal }): Promise<HoldAnswer>
  /** Ends a hold. */
  settle(tenant: string, request: SettleRequest, options?: { readonly signal?: AbortSignal }): Promise<SettleAnswer>
  /** Gives a hold more time, more units, or both. */
  extend(tenant: string, request: ExtendRequest, options?: { readonly signal?: AbortSignal }): Promise<ExtendAnswer>
  /** How counters stand now, in the order of `charges`. Holds that have expired no longer count. */
  read(
    tenant: string,
    charges: readonly Charge[],
    options?: { readonly signal?: AbortSignal }
  ): Promise<readonly CounterReading[] | Elsewhere>
  /**
   * Ends up to `limit` holds whose time is over, of any tenant, and says which; fewer than `limit` means that there are no
   * more. On a cluster that knows no order among tenants, those of tenants that this process has served.
   */
  endExpired(limit: number, options?: { readonly signal?: AbortSignal }): Promise<readonly ExpiredHold[]>
}

/** Spends that one call decides: a store is held for some milliseconds at most. */
export const SPENDS_MAX = 4_096

/** Holds of one tenant that may be open at the same time; beyond it `hold` throws `OVERLOADED`. */
export const HOLDS_MAX = 100_000
