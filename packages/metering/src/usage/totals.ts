/** Which usage to add up. */
export interface TotalsQuery {
  readonly tenant: string
  readonly subscription: string
  /** Epoch milliseconds, inclusive. */
  readonly from: number
  /** Epoch milliseconds, exclusive. */
  readonly to: number
  /** Only this metric; all of them when absent. */
  readonly metric?: string
}

/** What a metric adds up to in a range. */
export interface UsageTotal {
  readonly metric: string
  /** Exact however large: single quantities stop at 9e15, their sum does not. */
  readonly quantity: bigint
  /** How many events it is made of. */
  readonly events: number
}

/** Metrics that a total lists. They are named in code, not by customers; more means that an id was put in a name. */
export const METRICS_MAX = 1_000

/** Rollups count by the hour, in UTC: a whole number of them lies between any two zones' midnights but for a ragged end. */
export const HOUR_MS = 3_600_000

/** A range cut into whole hours, which a rollup answers, and the ragged ends, which the ledger answers. All half-open. */
export interface RangeParts {
  readonly head: readonly [from: number, to: number]
  readonly hours: readonly [from: number, to: number]
  readonly tail: readonly [from: number, to: number]
}

/** Cuts [from, to). Parts may be empty. */
export function rangeParts(from: number, to: number): RangeParts {
  const firstHour = Math.min(Math.ceil(from / HOUR_MS) * HOUR_MS, to)
  const lastHour = Math.max(Math.floor(to / HOUR_MS) * HOUR_MS, firstHour)
  return { head: [from, firstHour], hours: [firstHour, lastHour], tail: [lastHour, to] }
}
