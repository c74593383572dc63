import type { Calendar, CalendarPeriod } from '../calendar/calendar.ts'
import { calendarDays } from '../calendar/calendar-days.ts'
import { localTimeAt } from '../calendar/local-time.ts'

/** By what a period is divided. */
export type ProrationProfile =
  /** Whole seconds, half-open. Stripe, Polar. */
  | 'second'
  /** Milliseconds, half-open. */
  | 'millisecond'
  /**
   * Days of the customer's calendar: a change's day belongs to the new plan, the last day of a subscription that ends is
   * used. A whole period is what its days are: 28 to 31, 365 or 366. Lago.
   */
  | 'day-inclusive'
  /**
   * As days, but each month has 30: 30E/360 (ISDA 2006 §4.16(g)). The 31st costs nothing, the last day of February the
   * days that it lacks. A period of days or weeks is divided by its days.
   */
  | 'thirtieth'

/** Every profile, for validation. */
export const PRORATION_PROFILES = ['second', 'millisecond', 'day-inclusive', 'thirtieth'] as const

/** What of a period is left, in the units of a profile. */
export interface Remainder {
  readonly part: number
  readonly whole: number
}

/** What is left of `period` from `at` on, which lies in it. Used for a plan with this calendar. */
export function remainderOf(
  profile: ProrationProfile,
  { every, timeZone }: Calendar,
  period: CalendarPeriod,
  at: number
): Remainder {
  switch (profile) {
    case 'millisecond':
      return { part: period.to - at, whole: period.to - period.from }
    case 'second': {
      const end = secondOf(period.to)
      return { part: end - secondOf(at), whole: end - secondOf(period.from) }
    }
    case 'thirtieth': {
      const months = 'months' in every ? every.months : 'years' in every ? every.years * 12 : undefined
      if (months === undefined) return remainderOf('day-inclusive', { every, timeZone, anchor: '' }, period, at)
      const whole = months * 30
      return { part: whole - Math.min(whole, days360(period.from, at, timeZone)), whole }
    }
    case 'day-inclusive':
      return { part: calendarDays({ from: at, to: period.to }, timeZone), whole: calendarDays(period, timeZone) }
  }
}

/** What is left when a subscription ends at `at`: by days, the day itself is used. */
export function remainderAfterEnd(
  profile: ProrationProfile,
  calendar: Calendar,
  period: CalendarPeriod,
  at: number
): Remainder {
  const { part, whole } = remainderOf(profile, calendar, period, at)
  const usesDay = profile === 'day-inclusive' || profile === 'thirtieth'
  return { part: usesDay ? Math.max(0, part - 1) : part, whole }
}

const secondOf = (at: number): number => Math.floor(at / 1_000)

function days360(from: number, to: number, timeZone: string): number {
  const count = (at: number): number => {
    const { year, month, day } = localTimeAt(at, timeZone)
    return year * 360 + month * 30 + Math.min(day, 30)
  }
  return Math.max(0, count(to) - count(from))
}
