import type { Rollup } from './rollup.ts'

/** Which usage to add up. */
export interface TotalsQuery {
  readonly tenant: string
  readonly subscription: string
  /** Time of use: epoch milliseconds, inclusive. */
  readonly from: number
  /** Epoch milliseconds, exclusive. */
  readonly to: number
  /** Only this metric; all of them when absent. */
  readonly metric?: string
  /**
   * Events that came too late for the bill of their period: counted unless told otherwise. `excluded` is what the period's
   * own invoice bills.
   */
  readonly late?: 'included' | 'excluded'
}

/**
 * What a metric adds up to in a range. A metric that was declared otherwise meanwhile has one for each rollup: what was
 * recorded under either adds up as it was declared then.
 */
export interface UsageTotal {
  readonly metric: string
  readonly rollup: Rollup
  /** Exact however large: single quantities stop at 9e15, their sum does not. */
  readonly quantity: bigint
  /** How many events it is made of; of `unique`, those that have the property. */
  readonly events: number
}

/**
 * Which late usage to list: by when it was received, or, if it waited for a decision or in a journal, by when that was
 * over. Ranges that follow each other list each event once.
 */
export interface AdjustmentQuery {
  readonly tenant: string
  readonly subscription: string
  /** Time of receipt: epoch milliseconds, inclusive. */
  readonly receivedFrom: number
  /** Epoch milliseconds, exclusive. */
  readonly receivedTo: number
}

/**
 * What late events add to one metric of one earlier period. What a period's total is without late events, and what all
 * ranges add to it, is its total with them, under every rollup.
 */
export interface LateUsage {
  /** The start of the period in which it was used: epoch milliseconds. */
  readonly periodAt: number
  readonly metric: string
  readonly rollup: Rollup
  /**
   * The total of the period with these events less the total before them: of `sum` their sum, of `max` and `unique` what
   * they raise it by, which may be 0, and of `latest` also negative.
   */
  readonly quantity: bigint
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
