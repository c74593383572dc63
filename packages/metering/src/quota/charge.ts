/** How a counter counts, as its store needs to know it. Instants are by the store's clock. */
export type CounterRule =
  /** Never starts anew. */
  | { readonly kind: 'lifetime' }
  /** Windows of `everyMs`, counted from the Unix epoch. */
  | { readonly kind: 'every'; readonly everyMs: number }
  /**
   * Calendar windows: [boundaries[0], boundaries[1]), [boundaries[1], boundaries[2]) and so on, in rising order, 2 to 8
   * of them around the caller's present. A store whose clock is in none of them answers `elsewhere`.
   */
  | { readonly kind: 'boundaries'; readonly boundaries: readonly number[] }
  /**
   * At most the quantity in any stretch of `rollingMs`: counted in 60 slices, each of which counts in full until all of it
   * has left the stretch, so that it never sells more and refuses up to a sixtieth too long.
   */
  | { readonly kind: 'rolling'; readonly rollingMs: number }
  /**
   * A bucket that holds the quantity, full at first, and gets `refill` units back every `perMs`, in proportion; `refill`
   * times `perMs` is at most 9e15.
   */
  | { readonly kind: 'bucket'; readonly refill: number; readonly perMs: number }
  /** Units in use at the same time: only holds draw on it, and all of a hold comes back when it ends. */
  | { readonly kind: 'concurrent' }

/** A counter within a tenant: the limit's name, and the path below the tenant, from the top. No path is the tenant's own. */
export interface CounterName {
  readonly limit: string
  readonly path: readonly string[]
}

/** One counter that a call draws on, with its rule as it is now: the store keeps what was used, not the rule. */
export interface Charge extends CounterName {
  /** An integer in [0, 9e15]. */
  readonly quantity: number
  readonly rule: CounterRule
  /**
   * Counters below this one, not on the call's own path, for which a part of this one's quantity is reserved: as much of
   * it as they have not used yet is not there for anyone else. They have this counter's rule. At most 64.
   */
  readonly reserved: readonly ReservedPart[]
}

export interface ReservedPart {
  readonly path: readonly string[]
  readonly quantity: number
}

/** Counters that one call can draw on: levels of a path, times limits. */
export const CHARGES_MAX = 16

/** Parts that are reserved within one counter. Each is read with every spend that is not theirs. */
export const RESERVED_MAX = 64
