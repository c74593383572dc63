import type { MeteringError } from '../metering-error.ts'
import type { CounterName } from './charge.ts'
import type { QuotaHold } from './hold-handle.ts'
import type { CounterReading, HoldEnd } from './quota-store.ts'

/** Nothing changed: less than `requested` remains at one of the levels. */
export interface Refused {
  readonly outcome: 'refused'
  /** Whose counter refused: its limit, and its path below the tenant; no path is the tenant's own. */
  readonly level: CounterName
  readonly requested: number
  /** What that counter has left, at least 0. */
  readonly remaining: number
  /** When trying again may succeed, epoch milliseconds; null when waiting alone does not help. */
  readonly retryAt: number | null
}

/** No limit has this name, or it has no quantity at any level of the path. Nothing changed. */
export interface UnknownLimit {
  readonly outcome: 'unknown-limit'
  readonly limit: string
}

/** The key was used for another amount, so one of the two calls is wrong. Nothing changed. */
export interface Conflict {
  readonly outcome: 'conflict'
  readonly requested: number
  readonly firstAmount: number
}

/** The store gave no decision. */
export interface Unavailable {
  readonly outcome: 'unavailable'
  /** Whether the work may go on all the same, as `onStoreFailure` says. */
  readonly allowed: boolean
  /**
   * `store-failed`: whether it took effect is not known; with an idempotency key the same call again finds out.
   * `circuit-open`: the store failed before and was not asked. `overloaded`: too many calls wait. The last two changed
   * nothing.
   */
  readonly reason: 'store-failed' | 'circuit-open' | 'overloaded'
  /** How the store failed, or failed last. */
  readonly error?: MeteringError<'STORE_FAILED'>
}

/** What became of an attempt to consume. Only `consumed`, and `unavailable` with `allowed`, let the work go on. */
export type ConsumeOutcome =
  /** The amount is spent at every level. `replayed`: by an earlier call with this key, whose answer this is. */
  | {
      readonly outcome: 'consumed'
      /** The least that any of the counters has left. */
      readonly remaining: number
      /** When the counter that has least left has its full quantity again, epoch milliseconds; null when never. */
      readonly resetsAt: number | null
      readonly replayed: boolean
    }
  | Refused
  | UnknownLimit
  | Conflict
  | Unavailable

/** What `tryConsume` knows at once. */
export type TryOutcome =
  /** Spent, from units that were leased before. */
  | 'consumed'
  /** The store refused as much a moment ago. */
  | 'refused'
  /** Not known here: ask `consume`. */
  | 'ask'

/** What became of an attempt to hold. */
export type HoldOutcome =
  /** `replayed`: the hold was there, made by an earlier call with this key. */
  | { readonly outcome: 'held'; readonly hold: QuotaHold; readonly replayed: boolean }
  /** The hold with this key has ended. */
  | HoldEnd
  | Refused
  | UnknownLimit
  | Conflict
  /** With `allowed` there is a `hold` all the same: what is committed is booked when the store answers again. */
  | (Unavailable & { readonly hold?: QuotaHold })

/** How a hold was ended. */
export type SettleOutcome =
  | HoldEnd
  /** It was settled before with another amount, which stands. */
  | { readonly outcome: 'conflict'; readonly requested: number; readonly firstActual: number }
  /** The store knows no such hold: it ended so long ago that its end is forgotten. Nothing was booked. */
  | { readonly outcome: 'unknown-hold' }
  /** The store failed. `queued`: it is told again in the background until it answers; else tell it again yourself. */
  | (Omit<Unavailable, 'allowed'> & { readonly queued: boolean })

/** What became of a request for more time or units. */
export type ExtendOutcome =
  | { readonly outcome: 'extended'; readonly amount: number; readonly expiresAt: number }
  | HoldEnd
  | Refused
  | { readonly outcome: 'unknown-hold' }
  | Unavailable

/** What became of work around a hold. */
export type WithHoldOutcome<T> =
  /** The work ran and returned `value`. `end` says how the hold ended: with nothing committed it was released. */
  | { readonly outcome: 'done'; readonly value: T; readonly end: SettleOutcome }
  /** The work did not run. */
  | Exclude<HoldOutcome, { readonly outcome: 'held' }>

/** How a quota stands. */
export type RemainingOutcome =
  | {
      readonly outcome: 'known'
      /** What could be spent now: the least that any level has left, and what this process has leased. */
      readonly remaining: number
      /** The part of `remaining` that this process has leased and not spent. Other processes' leases show as `held`. */
      readonly leased: number
      /** From the innermost level outwards, as the store counts: what is leased is held. */
      readonly levels: readonly CounterReading[]
    }
  | UnknownLimit
  | Unavailable
