import type { CalendarPeriod } from './calendar.ts'
import { dateNumber, localTimeAt } from './local-time.ts'

/**
 * The days of `period` on a calendar in `timeZone`: those from the date on which it begins up to, and without, the date on
 * which it ends. However a period is cut in two the days of the parts add up to its own, and the day of the cut belongs to
 * the second part. Their length does not count, so a day of 23 hours is one; a date that the zone skipped is one, too.
 *
 * The zone is one that a `Calendar` was made with.
 */
export function calendarDays(period: CalendarPeriod, timeZone: string): number {
  return dateNumber(localTimeAt(period.to, timeZone)) - dateNumber(localTimeAt(period.from, timeZone))
}
