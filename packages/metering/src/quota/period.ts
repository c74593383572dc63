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

const DAY_MS = 86_400_000

/** Days from 0000-03-01 to 1970-01-01. */
const EPOCH_DAY = 719_468

/** Days in 400 years, after which the Gregorian calendar repeats. */
const ERA_DAYS = 146_097

/**
 * The calendar month around `now`. The arithmetic is Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms"
 * (`civil_from_days`, `days_from_civil`), which counts years from March so that the leap day comes last; `consume.lua`
 * does the same in Lua, where there are no dates at all.
 */
function monthAt(now: number): PeriodWindow {
  const day = Math.floor(now / DAY_MS) + EPOCH_DAY
  const era = Math.floor(day / ERA_DAYS)
  const dayOfEra = day - era * ERA_DAYS
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / (ERA_DAYS - 1))) /
      365
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  // 0 is March, 11 is February.
  const month = Math.floor((5 * dayOfYear + 2) / 153)
  const months = (era * 400 + yearOfEra) * 12 + month
  return { startsAt: monthStart(months), endsAt: monthStart(months + 1) }
}

/** When a month begins, counted from March of the year 0. */
function monthStart(months: number): number {
  const year = Math.floor(months / 12)
  const month = months - year * 12
  const era = Math.floor(year / 400)
  const yearOfEra = year - era * 400
  const dayOfYear = Math.floor((153 * month + 2) / 5)
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return (era * ERA_DAYS + dayOfEra - EPOCH_DAY) * DAY_MS
}
