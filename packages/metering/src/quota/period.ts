import { z } from 'zod'
import type { Calendar } from '../calendar/calendar.ts'
import { calendarSchema, periodFinder } from '../calendar/period-finder.ts'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import type { CounterRule } from './charge.ts'
import { freshSlice } from './rolling-counter.ts'

/** How a limit's quantity comes back, by the store's clock. Windows are half-open: [startsAt, endsAt). */
export type Period =
  /** Never: the quantity is all there is. */
  | 'lifetime'
  /** On the first of every month at 00:00 UTC. */
  | 'calendar-month-utc'
  /** Every `everyMs`, counted from the Unix epoch: `3_600_000` is on the hour, `86_400_000` at 00:00 UTC. */
  | { readonly everyMs: number }
  /** As a subscription's billing periods follow each other, in its time zone. */
  | { readonly calendar: Calendar }
  /** At most the quantity in any stretch of `rollingMs`, to a sixtieth of it. */
  | { readonly rollingMs: number }
  /** A token bucket that holds the quantity, full at first, and gets `refill` units back every `perMs`, in proportion. */
  | { readonly refill: number; readonly perMs: number }
  /** Units in use at the same time: only holds draw on it, and give all back when they end. */
  | 'concurrent'

/** The longest fixed period, in milliseconds: ten years. Longer ones are `lifetime`. */
const PERIOD_MS_MAX = 315_576_000_000

const spanSchema = z.number().int().min(1).max(PERIOD_MS_MAX)

export const periodSchema: z.ZodType<Period> = z.union([
  z.enum(['lifetime', 'calendar-month-utc', 'concurrent']),
  z.strictObject({ everyMs: spanSchema }),
  z.strictObject({ calendar: calendarSchema }),
  z.strictObject({ rollingMs: spanSchema }),
  z
    .strictObject({ refill: z.number().int().min(1).max(QUANTITY_MAX), perMs: spanSchema })
    // A store multiplies the two, and a product beyond 2^53 is none.
    .refine(({ refill, perMs }) => refill * perMs <= QUANTITY_MAX, {
      path: ['refill'],
      message: `refill times perMs must be at most ${QUANTITY_MAX}: give both in lowest terms`
    })
])

/** Whether parts can be reserved: what came back would have to be told apart by who used it, where there are no windows. */
export function hasWindows(period: Period): boolean {
  return period === 'lifetime' || period === 'calendar-month-utc' || 'everyMs' in Object(period) || isCalendar(period)
}

function isCalendar(period: Period): period is { readonly calendar: Calendar } {
  return typeof period === 'object' && 'calendar' in period
}

/** A period as stores count it. */
export interface PeriodRule {
  /**
   * The rule around an instant of the store's clock, and for which instants it is the same object: [from, to). Throws
   * `INVALID_OPTIONS` for instants of no calendar.
   */
  at(now: number): DatedRule
  /**
   * Until when what is taken at `now` may be used and still be counted where it belongs: the end of its window or slice,
   * epoch milliseconds; infinite where there are none.
   */
  windowEndsAt(now: number): number
}

/** A rule and the instants at which it holds. */
interface DatedRule {
  readonly rule: CounterRule
  readonly from: number
  readonly to: number
}

const ALWAYS = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY }

/** Compiles a period that was checked. */
export function periodRule(period: Period): PeriodRule {
  if (period === 'calendar-month-utc') return calendarRule(monthAt)
  if (isCalendar(period)) return calendarRule(periodFinder(period.calendar).periodAt)
  const dated: DatedRule = { rule: plainRule(period), ...ALWAYS }
  return { at: () => dated, windowEndsAt: (now) => plainWindowEndsAt(dated.rule, now) }
}

function plainWindowEndsAt(rule: CounterRule, now: number): number {
  if (rule.kind === 'every') return now - (now % rule.everyMs) + rule.everyMs
  if (rule.kind === 'rolling') return freshSlice(rule.rollingMs, now).endsAt
  return Number.POSITIVE_INFINITY
}

function plainRule(period: Exclude<Period, 'calendar-month-utc' | { readonly calendar: Calendar }>): CounterRule {
  if (typeof period === 'string') return { kind: period }
  if ('everyMs' in period) return { kind: 'every', everyMs: period.everyMs }
  if ('rollingMs' in period) return { kind: 'rolling', rollingMs: period.rollingMs }
  return { kind: 'bucket', refill: period.refill, perMs: period.perMs }
}

interface Span {
  readonly from: number
  readonly to: number
}

/**
 * The windows before, around and after the caller's present: a store whose clock is off by less than a window is within
 * them. They stay the same array for as long as the window lasts.
 */
function calendarRule(periodAt: (at: number) => Span): PeriodRule {
  let last: DatedRule | undefined
  return {
    at(now) {
      if (last !== undefined && now >= last.from && now < last.to) return last
      const { from, to } = periodAt(now)
      const boundaries = [periodAt(from - 1).from, from, to, periodAt(to).to]
      last = { rule: { kind: 'boundaries', boundaries }, from, to }
      return last
    },
    windowEndsAt: (now) => periodAt(now).to
  }
}

function monthAt(at: number): Span {
  const date = new Date(at)
  const year = date.getUTCFullYear()
  const month = date.getUTCMonth()
  return { from: Date.UTC(year, month), to: Date.UTC(year, month + 1) }
}
