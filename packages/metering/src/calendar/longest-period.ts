import type { Calendar } from './calendar.ts'

const DAY_MS = 86_400_000

/** Of 400 years, which is when the Gregorian calendar repeats. */
const DAYS_PER_MONTH = 146_097 / 4_800

/**
 * No period of `calendar` is longer than this, in milliseconds; the longest is up to three days shorter. A day of it is for
 * clocks that are set back meanwhile: an hour in autumn, and whatever a government thinks of.
 */
export function longestPeriodMs({ every }: Pick<Calendar, 'every'>): number {
  return (longestDays(every) + 1) * DAY_MS
}

function longestDays(every: Calendar['every']): number {
  if ('days' in every) return every.days
  if ('weeks' in every) return every.weeks * 7
  // The months of a period have up to a day and a half more than on average: July and August, or a leap year's.
  return Math.ceil(('months' in every ? every.months : every.years * 12) * DAYS_PER_MONTH + 1.5)
}
