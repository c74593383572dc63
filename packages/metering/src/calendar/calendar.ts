/**
 * How a subscription's periods follow each other. Periods are half-open, begin at local midnight (or the anchor's local
 * time) in the time zone, and are counted from the anchor: the 31st is clamped in short months and comes back in long
 * ones.
 */
export interface Calendar {
  /** One of them, a positive integer: `{ months: 1 }`, `{ years: 1 }`, `{ weeks: 1 }`, `{ days: 1 }`. */
  readonly every:
    | { readonly days: number }
    | { readonly weeks: number }
    | { readonly months: number }
    | { readonly years: number }
  /** IANA name, such as `Europe/Paris`. */
  readonly timeZone: string
  /** Local date or date-time at which a period begins, ISO 8601 without offset: `2026-01-31`, `2026-01-31T09:00`. */
  readonly anchor: string
}

/** One period: [from, to), epoch milliseconds. */
export interface CalendarPeriod {
  readonly from: number
  readonly to: number
}

/** Finds periods of one calendar. Made once, for it resolves the zone. */
export interface PeriodFinder {
  readonly calendar: Calendar
  /** The period that `at` (epoch milliseconds) falls into; also before the anchor. */
  periodAt(at: number): CalendarPeriod
  /** The period after or before the one given, `steps` of them. */
  shift(period: CalendarPeriod, steps: number): CalendarPeriod
}
