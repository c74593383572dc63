import { z } from 'zod'
import type { CalendarPeriod, PeriodFinder } from '../calendar/calendar.ts'

/** Which bill an event belongs to, from when it was used and when it was received. MT-3. */
export type Lateness =
  /** Received before its period ended. */
  | 'on-time'
  /** Received at most 24 hours after its period ended: it still belongs to it, whose final invoice closes only then. */
  | 'grace'
  /** At most 7 days after: an adjustment on the next invoice, naming the period it is from. */
  | 'adjustment'
  /** Later: somebody decides. */
  | 'manual-review'

/** How long after the end of a period usage may come. Both ends are inclusive. */
export interface LatenessLimits {
  /** Still on the period's own bill: 86,400,000 ms unless given. */
  readonly graceMs: number
  /** An adjustment on the next bill: 604,800,000 ms unless given. At least `graceMs`. */
  readonly adjustmentMs: number
}

const DAY_MS = 86_400_000

/** 24 hours and 7 times 24 hours: elapsed time, the same whatever clocks in the customer's zone do meanwhile. */
export const LATENESS_LIMITS: LatenessLimits = { graceMs: DAY_MS, adjustmentMs: 7 * DAY_MS }

/** A year: who waits longer for a bill has another problem. */
const LIMIT_MAX_MS = 366 * DAY_MS

/**
 * What users declare; other rooms take it as a part of theirs. The grace is a day at most, for the invoice of a period is
 * final then: an event that was told later that it belongs on it could be on no invoice at all.
 */
export const latenessLimitsSchema: z.ZodType<LatenessLimits> = z
  .strictObject({ graceMs: z.int().min(0).max(DAY_MS), adjustmentMs: z.int().min(0).max(LIMIT_MAX_MS) })
  .refine(({ graceMs, adjustmentMs }) => graceMs <= adjustmentMs, {
    path: ['adjustmentMs'],
    message: 'must not be less than graceMs'
  })

/** The lateness of an event, with what it follows from. */
export interface JudgedLateness {
  readonly lateness: Lateness
  /** The period in which it was used. */
  readonly period: CalendarPeriod
  /** From the period's end to the receipt; 0 where it was received before. */
  readonly lateMs: number
}

/**
 * Judges by the period that `at` falls into, which is the customer's (it is found in their time zone), and by the time
 * from its end to the receipt. A period is half-open: what is received at its very end is received after it, 0 ms late.
 * The time is elapsed time: 24 hours are 86,400,000 ms also on a day of 23 or 25 hours. Throws `INVALID_OPTIONS` for an
 * `at` that has no period.
 */
export function judgeLateness(event: {
  /** When it was used: epoch milliseconds. */
  readonly at: number
  /** When it was received: epoch milliseconds. */
  readonly receivedAt: number
  readonly finder: PeriodFinder
  /** 24 hours and 7 days unless given. */
  readonly limits?: LatenessLimits
}): JudgedLateness {
  const { at, receivedAt, finder, limits = LATENESS_LIMITS } = event
  const period = finder.periodAt(at)
  const lateMs = receivedAt - period.to
  if (lateMs < 0) return { lateness: 'on-time', period, lateMs: 0 }
  if (lateMs <= limits.graceMs) return { lateness: 'grace', period, lateMs }
  return { lateness: lateMs <= limits.adjustmentMs ? 'adjustment' : 'manual-review', period, lateMs }
}
