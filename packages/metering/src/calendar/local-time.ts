import {
  addDays,
  addMonths,
  create,
  diffDays,
  type Record as Local,
  toZonedDateTime
} from 'temporal-polyfill/fns/PlainDateTime'
import { getTimeZoneTransition, type Record as Zoned, create as zoned } from 'temporal-polyfill/fns/ZonedDateTime'

/** What clocks and calendars on the wall show. */
export type LocalTime = Local

const NANOSECONDS_PER_MS = 1_000_000n

/** What they show in `timeZone` at `at` (epoch milliseconds). */
export function localTimeAt(at: number, timeZone: string): Zoned {
  return zoned(BigInt(at) * NANOSECONDS_PER_MS, timeZone)
}

/**
 * The first instant at which clocks in `timeZone` show `local`: the first of two where they are set back, and the end of
 * the gap where they are set forward over it. Later local times never come out earlier, which Temporal's own rule
 * (`compatible`) does not promise for times in a gap.
 */
export function firstInstantOf(local: LocalTime, timeZone: string): number {
  const found = toZonedDateTime(local, timeZone, { disambiguation: 'earlier' })
  const isShown = found.minute === local.minute && found.hour === local.hour && found.day === local.day
  if (isShown) return found.epochMilliseconds
  // In a gap `earlier` goes back by its length, to before it.
  return (getTimeZoneTransition(found, 'next') as Zoned).epochMilliseconds
}

/** The days from 1970-01-01 to the date shown. */
export function dateNumber({ year, month, day }: Pick<LocalTime, 'year' | 'month' | 'day'>): number {
  return diffDays(EPOCH, create(year, month, day))
}

const EPOCH = create(1970, 1, 1)

/** `local` so many days or months later; the 31st of a month that has none is its last day. */
export const daysLater: (local: LocalTime, days: number) => LocalTime = addDays
export const monthsLater: (local: LocalTime, months: number) => LocalTime = (local, months) => addMonths(local, months)

const LOCAL_TIME = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?)?$/

/** A local date or date-time in ISO 8601, without an offset; undefined where it is none, or names no day there is. */
export function parseLocalTime(text: string): LocalTime | undefined {
  const parts = LOCAL_TIME.exec(text)
  if (parts === null) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts
    .slice(1, 7)
    .map((part) => Number(part ?? 0))
  try {
    return create(year, month, day, hour, minute, second, Number((parts[7] ?? '').padEnd(3, '0')))
  } catch {
    return undefined
  }
}

/** Whether the time zone database knows `timeZone` by name. An offset such as `+02:00` is none: it knows no summer. */
export function isTimeZone(timeZone: string): boolean {
  if (!/^[A-Z]/i.test(timeZone)) return false
  try {
    zoned(0n, timeZone)
    return true
  } catch {
    return false
  }
}
