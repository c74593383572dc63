import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { owedBy } from '../billing/invoice-maker.ts'
import type { InvoiceStore } from '../billing/invoice-store.ts'
import type { BilledPeriod } from '../billing/invoicing.ts'
import { CLOSES_AFTER_MS } from '../billing/invoicing.ts'
import type { RateCard } from '../billing/rate-card.ts'
import type { Calendar, CalendarPeriod, PeriodFinder } from '../calendar/calendar.ts'
import { calendarSchema, periodFinder } from '../calendar/period-finder.ts'
import { identifierSchema, usedAtSchema } from '../event/usage-event-schema.ts'
import { MeteringError } from '../metering-error.ts'
import { METRICS_MAX } from '../usage/totals.ts'
import type { UsageStore } from '../usage/usage-store.ts'
import {
  type ComparisonVerdict,
  compareMetrics,
  type MeteredUsage,
  type MetricComparison,
  overallVerdict
} from './comparison.ts'
import type { Tolerance } from './tolerance.ts'

/** Which period to compare: the one of the subscription's calendar that `at` (epoch milliseconds) lies in. */
export interface ReconciliationQuery {
  readonly tenant: string
  readonly subscription: string
  /** That by which it is invoiced. */
  readonly calendar: Calendar
  readonly at: number
}

/** A period that is over, its ledger against its bills. */
export interface PeriodComparison {
  readonly tenant: string
  readonly subscription: string
  readonly period: CalendarPeriod
  /** ISO 4217. */
  readonly currency: string
  /**
   * The issue of the last final invoice: late usage that was counted before it must have been billed, what came after it
   * waits for the next one and is no gap. Epoch milliseconds.
   */
  readonly watermarkAt: number
  readonly verdict: ComparisonVerdict
  readonly metrics: readonly MetricComparison[]
  /** The sum of the differences in the minor unit: negative when too little was billed. */
  readonly minorUnits: bigint
}

/** What a comparison found. */
export type PeriodCheck =
  | { readonly outcome: 'compared'; readonly comparison: PeriodComparison }
  /** Its usage may still come, until `closesAt`. */
  | { readonly outcome: 'open'; readonly closesAt: number }
  /** It is closed and has no final invoice, which bills all of it: `events` of usage wait for that. */
  | { readonly outcome: 'not-invoiced'; readonly period: CalendarPeriod; readonly events: number }

const querySchema: z.ZodType<ReconciliationQuery> = z.strictObject({
  tenant: identifierSchema,
  subscription: identifierSchema,
  calendar: calendarSchema,
  at: usedAtSchema
})

/** From where a comparison reads. */
export interface CheckGround {
  readonly usage: Pick<UsageStore, 'totals' | 'adjustments'>
  readonly invoices: Pick<InvoiceStore, 'find' | 'billed' | 'endedAt'>
  readonly rateCardOf: (billed: BilledPeriod) => RateCard | undefined | Promise<RateCard | undefined>
  readonly roundedPer: 'line' | 'invoice'
  readonly tolerance: Tolerance
  readonly settleMs: number
}

/** Compares one period; writes nothing. */
export async function checkPeriod(ground: CheckGround, query: ReconciliationQuery, now: number): Promise<PeriodCheck> {
  const { usage, invoices, rateCardOf, roundedPer, tolerance, settleMs } = ground
  const { tenant, subscription, calendar, at } = parseOptions(querySchema, 'reconciliation.check', query)
  const finder = periodFinder(calendar)
  const period = finder.periodAt(at)
  const closesAt = period.to + CLOSES_AFTER_MS
  if (now < closesAt) return { outcome: 'open', closesAt }

  const whose = { tenant, subscription }
  const invoice = await invoices.find(tenant, subscription, period)
  const onTime = bounded(whose, await usage.totals({ ...whose, ...period, late: 'excluded' }))
  if (invoice?.status !== 'final') {
    return { outcome: 'not-invoiced', period, events: onTime.reduce((sum, { events }) => sum + events, 0) }
  }

  const watermarkAt = await watermarkOf(ground, query, finder, period, invoice.issuedAt, now)
  const lateBetween = async (receivedFrom: number, receivedTo: number) =>
    bounded(whose, await usage.adjustments({ ...whose, receivedFrom, receivedTo })).filter(
      ({ periodAt }) => periodAt === period.from
    )
  const settledAt = Math.max(period.to, watermarkAt - settleMs)
  const settled = addedUp([...onTime, ...(await lateBetween(period.to, settledAt))])
  const around = addedUp(await lateBetween(settledAt, Math.max(settledAt, watermarkAt + settleMs)), settled)

  const card = await rateCardOf({ tenant, subscription, period })
  if (card === undefined) throw notBillable(query, `there is no rate card for the period from ${period.from}`)
  if (card.currency !== invoice.currency) {
    throw notBillable(query, `it was invoiced in ${invoice.currency}, and its rate card is in ${card.currency}`)
  }
  const billed = await invoices.billed(tenant, subscription, period)
  const owed = owedBy(card, period, await invoices.endedAt(tenant, subscription))
  const metrics = compareMetrics({ card: owed, roundedPer, tolerance, settled, around, billed })
  const comparison: PeriodComparison = {
    tenant,
    subscription,
    period,
    currency: card.currency,
    watermarkAt,
    verdict: overallVerdict(metrics),
    metrics,
    minorUnits: metrics.reduce((sum, { difference }) => sum + difference.minorUnits, 0n)
  }
  return { outcome: 'compared', comparison }
}

/** When the last final invoice was issued: each looks for late usage of all earlier periods. */
async function watermarkOf(
  { invoices }: CheckGround,
  { tenant, subscription }: ReconciliationQuery,
  finder: PeriodFinder,
  period: CalendarPeriod,
  issuedAt: number,
  now: number
): Promise<number> {
  let last = issuedAt
  for (let next = finder.shift(period, 1); next.to + CLOSES_AFTER_MS <= now; next = finder.shift(next, 1)) {
    const found = await invoices.find(tenant, subscription, next)
    if (found?.status === 'final') last = Math.max(last, found.issuedAt)
  }
  return last
}

/** Per metric: what was declared under several rollups adds up. */
function addedUp(
  usage: readonly { readonly metric: string; readonly quantity: bigint; readonly events: number }[],
  to: MeteredUsage = new Map()
): MeteredUsage {
  const sums = new Map(to)
  for (const { metric, quantity, events } of usage) {
    const sum = sums.get(metric) ?? { quantity: 0n, events: 0 }
    sums.set(metric, { quantity: sum.quantity + quantity, events: sum.events + events })
  }
  return sums
}

function bounded<Row>(whose: { readonly tenant: string; readonly subscription: string }, found: readonly Row[]) {
  if (found.length <= METRICS_MAX) return found
  const { tenant, subscription } = whose
  const message = `subscription ${subscription} used more than ${METRICS_MAX} metrics in one range`
  throw new MeteringError('TOO_MANY_METRICS', message, { tenant, subscription, limit: METRICS_MAX })
}

function notBillable({ tenant, subscription }: ReconciliationQuery, reason: string): MeteringError<'NOT_BILLABLE'> {
  const message = `subscription ${subscription} cannot be compared: ${reason}`
  return new MeteringError('NOT_BILLABLE', message, { tenant, subscription, reason })
}
