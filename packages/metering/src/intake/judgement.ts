import type { Calendar, CalendarPeriod, PeriodFinder } from '../calendar/calendar.ts'
import { periodFinder } from '../calendar/period-finder.ts'
import { judgeTime } from '../clock-skew/skew.ts'
import type { CheckedUsage } from '../event/parse-usage-event.ts'
import { payloadHash } from '../event/payload-hash.ts'
import { propertiesText } from '../event/properties.ts'
import { judgeLateness, type LatenessLimits } from '../lateness/lateness.ts'
import type { MetricDefinition } from '../usage/rollup.ts'
import type { UsageEntry } from '../usage/usage-store.ts'

/** The periods of a subscription: a calendar, a finder made of one, or nothing where nobody bills. */
export type CalendarOf = (tenant: string, subscription: string) => Calendar | PeriodFinder | undefined

/** An event that is judged and on its way to a store. */
export interface JudgedUsage {
  readonly entry: UsageEntry
  readonly driftMs: number
  /** Where it came after the end of its period. */
  readonly late?: { readonly lateMs: number; readonly period: CalendarPeriod }
}

/** The time that an event would be counted under, and the bill that this makes it part of. */
interface TimedUsage {
  readonly lateness: 'on-time' | 'grace' | 'adjustment' | 'manual-review'
  readonly late?: { readonly lateMs: number; readonly period: CalendarPeriod }
}

/** Judges events: their time (MT-1), then their bill (MT-3). */
export interface UsageJudge {
  /** `receivedAt` is the receipt, which skew is told by, and `now` the judgement, which lateness is told by. */
  judge(usage: CheckedUsage, times: { readonly receivedAt: number; readonly now: number }): JudgedUsage
  lateness(
    usage: { readonly tenant: string; readonly subscription: string; readonly at: number },
    now: number
  ): TimedUsage
}

/** Calendars whose finders are kept: a finder costs some 100 µs to make and knows its last periods. */
const FINDERS_MAX = 1_024

const SUM: MetricDefinition = { rollup: 'sum' }

export function usageJudge(options: {
  readonly metrics: ReadonlyMap<string, MetricDefinition>
  readonly calendarOf: CalendarOf | undefined
  readonly latenessLimits: LatenessLimits | undefined
}): UsageJudge {
  const { metrics, calendarOf, latenessLimits } = options
  const finders = new Map<string, PeriodFinder>()

  const finderOf = (tenant: string, subscription: string): PeriodFinder | undefined => {
    const given = calendarOf?.(tenant, subscription)
    if (given === undefined || 'periodAt' in given) return given
    const key = JSON.stringify([given.every, given.timeZone, given.anchor])
    let finder = finders.get(key)
    if (finder === undefined) {
      finder = periodFinder(given)
      // The oldest goes: the map keeps the order in which they came.
      if (finders.size >= FINDERS_MAX) finders.delete(finders.keys().next().value as string)
      finders.set(key, finder)
    }
    return finder
  }

  const latenessOf: UsageJudge['lateness'] = ({ tenant, subscription, at }, now) => {
    const finder = finderOf(tenant, subscription)
    if (finder === undefined) return { lateness: 'on-time' }
    const limits = latenessLimits === undefined ? {} : { limits: latenessLimits }
    const { lateness, period, lateMs } = judgeLateness({ at, receivedAt: now, finder, ...limits })
    return lateness === 'on-time' ? { lateness } : { lateness, late: { lateMs, period } }
  }

  return {
    lateness: latenessOf,
    judge(usage, { receivedAt, now }) {
      const { properties, ...checked } = usage
      const propertiesJson = propertiesText(properties)
      const base = {
        ...checked,
        propertiesJson,
        payloadHash: payloadHash({ ...checked, propertiesJson }),
        receivedAt,
        rollup: metrics.get(usage.metric) ?? SUM,
        ...(now === receivedAt ? {} : { countedAt: now })
      }
      const time = judgeTime({ at: usage.at, receivedAt, consensusAt: receivedAt })
      const { driftMs } = time
      if (time.outcome === 'quarantined') {
        return { driftMs, entry: { ...base, lateness: 'on-time', setAside: 'quarantine' } }
      }
      const reported = time.skew === 'future' ? { at: time.at, reportedAt: time.reportedAt } : {}
      const { lateness, late } = latenessOf({ ...usage, at: time.at }, now)
      if (late === undefined) return { driftMs, entry: { ...base, ...reported, lateness: 'on-time' } }
      const periodOf = { latePeriodAt: late.period.from, latePeriodEndsAt: late.period.to }
      const entry: UsageEntry =
        lateness === 'manual-review'
          ? { ...base, ...reported, ...periodOf, lateness: 'on-time', setAside: 'review' }
          : { ...base, ...reported, ...(lateness === 'adjustment' ? periodOf : {}), lateness }
      return { driftMs, entry, late }
    }
  }
}
