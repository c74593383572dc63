import { CoreError, parseOptions } from '@enablement/core'
import { z } from 'zod'
import type { Calendar, CalendarPeriod, PeriodFinder } from './calendar.ts'
import {
  dateNumber,
  daysLater,
  firstInstantOf,
  isTimeZone,
  type LocalTime,
  localTimeAt,
  monthsLater,
  parseLocalTime
} from './local-time.ts'

/** Instants that have a period: the years 1900 to 10099. Usage ends with 9999, and its period may last a century more. */
const AT_MIN = Date.UTC(1900, 0)
const AT_LIMIT = Date.UTC(10100, 0)

/** How long those years are, or a little more. */
const SPAN = { days: 3_000_000, months: 98_400 }

const isInRange = (at: number): boolean => Number.isSafeInteger(at) && at >= AT_MIN && at < AT_LIMIT

/** A period lasts a century at most: a longer one is one unit taken for another. */
const CENTURY = { days: 36_525, weeks: 5_217, months: 1_200, years: 100 }

/** Periods that `shift` goes at once: a century of days. */
const STEPS_MAX = 36_525

/** Periods kept, for usage that comes late belongs to one of the last few: finding one anew takes some 20 µs. */
const RECENT_MAX = 8

const everySchema = z
  .strictObject({
    days: z.int().min(1).max(CENTURY.days).exactOptional(),
    weeks: z.int().min(1).max(CENTURY.weeks).exactOptional(),
    months: z.int().min(1).max(CENTURY.months).exactOptional(),
    years: z.int().min(1).max(CENTURY.years).exactOptional()
  })
  .refine((every) => Object.keys(every).length === 1, 'must be one of days, weeks, months and years')

/** What is needed of a calendar to know how long its periods are; the rest of it is not looked at. */
export const calendarEverySchema: z.ZodType<Pick<Calendar, 'every'>> = z.object({
  every: everySchema as z.ZodType<unknown> as z.ZodType<Calendar['every']>
})

/** The calendar that users declare; other rooms take it as a part of theirs. */
export const calendarSchema: z.ZodType<Calendar> = z.strictObject({
  // A union would not say in which of its members the mistake is.
  every: everySchema as z.ZodType<unknown> as z.ZodType<Calendar['every']>,
  timeZone: z.string().refine(isTimeZone, 'must be a name of the time zone database, such as Europe/Paris'),
  anchor: z
    .string()
    .refine(isAnchor, 'must be a local date or date-time of the years 1900 to 9999, such as 2026-01-31T09:00')
})

function isAnchor(text: string): boolean {
  const local = parseLocalTime(text)
  return local !== undefined && local.year >= 1900
}

/** How many steps of which kind lie between the boundaries of a calendar. Weeks are days, years are months. */
interface Stride {
  readonly unit: 'days' | 'months'
  readonly count: number
}

function strideOf(every: Calendar['every']): Stride {
  if ('days' in every) return { unit: 'days', count: every.days }
  if ('weeks' in every) return { unit: 'days', count: every.weeks * 7 }
  if ('months' in every) return { unit: 'months', count: every.months }
  return { unit: 'months', count: every.years * 12 }
}

/**
 * Finds the periods of `calendar`. Boundaries are counted from the anchor, never from the period before, so that the 31st
 * comes back after a short month. Where clocks show a boundary twice it is the first time, and where they skip it, it is
 * the end of the gap. A date that a zone skipped altogether (Samoa, 30 December 2011) is no period of a daily calendar.
 *
 * Throws `INVALID_OPTIONS`, as `periodAt` does for anything but epoch milliseconds of the years 1900 to 10099, and `shift`
 * for more than 36,525 steps and for what is no period of the calendar.
 */
export function periodFinder(calendar: Calendar): PeriodFinder {
  const checked = parseOptions(calendarSchema, 'periodFinder', calendar)
  const { timeZone } = checked
  const anchor = parseLocalTime(checked.anchor) as LocalTime
  const { unit, count } = strideOf(checked.every)
  const later = unit === 'days' ? daysLater : monthsLater
  /** No gap is longer than a day, so only a daily calendar has boundaries that fall together. */
  const mayFallTogether = unit === 'days' && count === 1

  /** Where the period `index` after the anchor's begins. */
  const boundary = (index: number): number => firstInstantOf(later(anchor, index * count), timeZone)

  const periodOf = (index: number): CalendarPeriod => ({ from: boundary(index), to: boundary(index + 1) })

  /** The index of the last period that has begun at `at`: a guess by the dates, then whichever way the times say. */
  const indexAt = (at: number): number => {
    const local = localTimeAt(at, timeZone)
    const between =
      unit === 'days'
        ? dateNumber(local) - dateNumber(anchor)
        : (local.year - anchor.year) * 12 + local.month - anchor.month
    let index = Math.floor(between / count)
    while (boundary(index) > at) index -= 1
    while (boundary(index + 1) <= at) index += 1
    return index
  }

  let last: CalendarPeriod = { from: 0, to: 0 }
  const recent: CalendarPeriod[] = []

  const find = (at: number): CalendarPeriod => {
    if (!isInRange(at)) {
      throw refused('periodAt', 'at', `must be epoch milliseconds of the years 1900 to 10099, and is ${at}`)
    }
    let found = recent.find(({ from, to }) => at >= from && at < to)
    if (found === undefined) {
      found = periodOf(indexAt(at))
      if (recent.unshift(found) > RECENT_MAX) recent.pop()
    }
    last = found
    return found
  }

  const finder: PeriodFinder = {
    calendar: Object.freeze(checked),
    periodAt: (at) => (at >= last.from && at < last.to && Number.isInteger(at) ? last : find(at)),
    shift(period, steps) {
      if (!Number.isInteger(steps) || Math.abs(steps) > STEPS_MAX) {
        throw refused('shift', 'steps', `must be an integer within ${STEPS_MAX}, and is ${steps}`)
      }
      const own = finder.periodAt(period.from)
      if (own.from !== period.from || own.to !== period.to) {
        throw refused('shift', 'period', `[${period.from}, ${period.to}) is no period of the calendar`)
      }
      if (!mayFallTogether) {
        const shifted = Math.abs(steps) * count > SPAN[unit] ? undefined : periodOf(indexAt(own.from) + steps)
        if (shifted !== undefined && isInRange(shifted.from)) return shifted
        throw refused('shift', 'steps', `must not lead out of the years 1900 to 10099, as ${steps} do`)
      }
      let shifted = own
      for (let step = 0; step < Math.abs(steps); step++) shifted = find(steps > 0 ? shifted.to : shifted.from - 1)
      return shifted
    }
  }
  return finder
}

function refused(method: string, path: string, message: string): CoreError<'INVALID_OPTIONS'> {
  const subject = `periodFinder.${method}`
  return new CoreError('INVALID_OPTIONS', `${subject}: ${path} ${message}`, { subject, issues: [{ path, message }] })
}
