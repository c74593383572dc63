/** How often a limit starts anew, by the store's clock. Windows are half-open: [startsAt, endsAt). */
export type Period =
  /** Never: the quantity is all there is. */
  | 'lifetime'
  /** On the first of every month at 00:00 UTC. */
  | 'calendar-month-utc'
  /** Every `everyMs`, counted from the Unix epoch: `3_600_000` is on the hour, `86_400_000` at 00:00 UTC. */
  | { readonly everyMs: number }

/** One turn of a period. */
export interface PeriodWindow {
  /** Epoch milliseconds, inclusive. */
  readonly startsAt: number
  /** Epoch milliseconds, exclusive. */
  readonly endsAt: number
}

/** The end of a window that does not end: the last instant that ECMAScript's dates know. */
export const NEVER = 8_640_000_000_000_000

/** The window that `now` (epoch milliseconds) falls into. */
function windowAt(period: Period, now: number): PeriodWindow {
  if (period === 'lifetime') return { startsAt: 0, endsAt: NEVER }
  if (period === 'calendar-month-utc') return monthAt(now)
  const startsAt = Math.floor(now / period.everyMs) * period.everyMs
  return { startsAt, endsAt: startsAt + period.everyMs }
}

/**
 * The window that a counter is in, given the one it was last in. A window lasts until its end even when the store's clock
 * is set back or the limit is given another period meanwhile: leaving it early would hand the quantity out again. A clock
 * that once ran far ahead therefore withholds the quantity until that window ends; it never gives it twice.
 */
export function runningWindow(last: PeriodWindow | undefined, period: Period, now: number): PeriodWindow {
  if (last !== undefined && now < last.endsAt && (last.endsAt !== NEVER || period === 'lifetime')) return last
  return windowAt(period, now)
}

/** The calendar month around `now`. `consume.lua` counts days by itself, for Lua in Redis knows no dates. */
function monthAt(now: number): PeriodWindow {
  const date = new Date(now)
  const year = date.getUTCFullYear()
  const month = date.getUTCMonth()
  return { startsAt: Date.UTC(year, month), endsAt: Date.UTC(year, month + 1) }
}
