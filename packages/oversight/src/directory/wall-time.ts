import { addDays, create, diffDays, toZonedDateTime } from 'temporal-polyfill/fns/PlainDateTime'
import { getTimeZoneTransition, type Record as Zoned, create as zoned } from 'temporal-polyfill/fns/ZonedDateTime'

/**
 * A time that clocks in a zone show on a date. The date counts days from 1970-01-01 and the minutes count from midnight;
 * 1,440 minutes are the midnight that ends the date.
 */
interface WallTime {
  readonly day: number
  readonly minutes: number
}

const MINUTES_PER_DAY = 1_440
const NANOSECONDS_PER_MS = 1_000_000n

/**
 * The first instant at which clocks in `zone` show `wall`: the first of two where they are set back, and the end of the
 * gap where they are set forward over it. Every start and every handoff follows this rule.
 */
export const firstInstantOf = (wall: WallTime, zone: string): number => instantOf(wall, zone, 'earlier')

/**
 * The last instant at which clocks in `zone` show `wall`: the second of two where they are set back, and the end of the
 * gap where they are set forward over it. Every end follows this rule, so that a period is never shorter than its clock
 * times say because an hour was repeated, and never ends before it starts because one was skipped.
 */
export const lastInstantOf = (wall: WallTime, zone: string): number => instantOf(wall, zone, 'later')

/** The rule is GoAlert's (`util/timeutil/clock.go`), and unlike Temporal's own keeps the order of clock times in a gap. */
function instantOf({ day, minutes }: WallTime, zone: string, disambiguation: 'earlier' | 'later'): number {
  const date = day + Math.floor(minutes / MINUTES_PER_DAY)
  const minuteOfDay = minutes % MINUTES_PER_DAY
  const wall = addDays(create(1970, 1, 1, Math.floor(minuteOfDay / 60), minuteOfDay % 60), date)
  const found = toZonedDateTime(wall, zone, { disambiguation })
  if (found.minute === wall.minute && found.hour === wall.hour && found.day === wall.day) return found.epochMilliseconds
  const beforeGap = toZonedDateTime(wall, zone, { disambiguation: 'earlier' })
  return (getTimeZoneTransition(beforeGap, 'next') as Zoned).epochMilliseconds
}

/** The date that calendars in `zone` show at `at` (epoch milliseconds). */
export function dayAt(at: number, zone: string): number {
  const { year, month, day } = zoned(BigInt(at) * NANOSECONDS_PER_MS, zone)
  return dayOf(year, month, day)
}

/** The number of a date; throws a RangeError for one that no calendar has. */
export function dayOf(year: number, month: number, day: number): number {
  return diffDays(create(1970, 1, 1), create(year, month, day))
}

/** 0 for Monday to 6 for Sunday: the epoch was a Thursday. */
export const weekdayOf = (day: number): number => (day + 3) % 7

/** Whether the time zone database knows `zone` by name. An offset such as `+02:00` is none: it knows no summer. */
export function isZone(zone: string): boolean {
  if (!/^[A-Z]/i.test(zone)) return false
  try {
    zoned(0n, zone)
    return true
  } catch {
    return false
  }
}
