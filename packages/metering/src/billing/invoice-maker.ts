import { parseOptions } from '@enablement/core'
import type { Calendar, CalendarPeriod } from '../calendar/calendar.ts'
import { periodFinder } from '../calendar/period-finder.ts'
import { MeteringError } from '../metering-error.ts'
import type { Rounding } from '../money/rounding.ts'
import { METRICS_MAX, type TotalsQuery, type UsageTotal } from '../usage/totals.ts'
import type { BillingEvent } from './billing-event.ts'
import { invoiceId } from './billing-key.ts'
import type { Invoice, InvoiceLine } from './invoice.ts'
import { adjustmentLines, byMetric, inOrder, usageLines } from './invoice-lines.ts'
import type { BilledUsage } from './invoice-store.ts'
import type { BilledPeriod, InvoiceQuery, InvoicingOptions } from './invoicing.ts'
import type { RateCard } from './rate-card.ts'
import { taxOnLines, taxRuleSchema } from './tax.ts'

/** A made invoice, and the ground it stands on. */
interface MadeInvoice {
  /** Undefined where the subscription was over before the period, and nothing is billed. */
  readonly invoice: Invoice | undefined
  /** The keys of the pending adjustments that it takes. */
  readonly takes: readonly string[]
  readonly revision: number
  readonly endedAt: number | undefined
}

/** An earlier period whose usage is not what was billed for it. */
interface LatePeriod {
  readonly period: CalendarPeriod
  readonly totals: readonly UsageTotal[]
  readonly billed: readonly BilledUsage[]
}

/** From what invoices are made, and by which rules. */
export interface MakerGround
  extends Pick<InvoicingOptions, 'usage' | 'invoices' | 'rateCardOf' | 'roundedPer' | 'taxOf'> {
  /** Given with `taxOf`. */
  readonly taxRounding: Rounding | undefined
  readonly lookBackMs: number
  readonly report: (event: BillingEvent) => void
}

/** Makes invoices; stores nothing. */
export interface InvoiceMaker {
  /** What the period's invoice is at `now`. With `orNothing` a period after the end has one only for what it bills. */
  make(
    query: InvoiceQuery,
    options: { readonly status: Invoice['status']; readonly now: number; readonly orNothing?: boolean }
  ): Promise<MadeInvoice>
}

export function createInvoiceMaker(ground: MakerGround): InvoiceMaker {
  const { usage, invoices, rateCardOf, roundedPer, taxOf, taxRounding, lookBackMs, report } = ground

  async function cardOf(billed: BilledPeriod, endedAt: number | undefined): Promise<RateCard> {
    const card = await rateCardOf(billed)
    if (card !== undefined) return owedBy(card, billed.period, endedAt)
    throw notBillable(billed, `there is no rate card for the period from ${billed.period.from}`)
  }

  async function totalsOf(query: TotalsQuery): Promise<readonly UsageTotal[]> {
    const totals = await usage.totals(query)
    if (totals.length <= METRICS_MAX) return totals
    const { tenant, subscription } = query
    const message = `subscription ${subscription} used more than ${METRICS_MAX} metrics in one period`
    throw new MeteringError('TOO_MANY_METRICS', message, { tenant, subscription, limit: METRICS_MAX })
  }

  /** The starts of the periods that late usage names. A store lists so much at a time, and so is asked in halves. */
  async function latePeriods(
    identity: Pick<BilledPeriod, 'tenant' | 'subscription'>,
    receivedFrom: number,
    receivedTo: number
  ): Promise<readonly number[]> {
    const late = await usage.adjustments({ ...identity, receivedFrom, receivedTo })
    if (late.length <= METRICS_MAX || receivedTo - receivedFrom <= 1) return late.map(({ periodAt }) => periodAt)
    const middle = Math.floor((receivedFrom + receivedTo) / 2)
    const first = await latePeriods(identity, receivedFrom, middle)
    return [...first, ...(await latePeriods(identity, middle, receivedTo))]
  }

  /**
   * Earlier periods that are done with, by a final invoice or as those after the end are without one, and have usage that
   * was not billed: of those that late usage names, and of the last one, which may have been done with while an event was
   * on its way into the ledger.
   */
  async function lateOf(
    { tenant, subscription, period }: BilledPeriod,
    calendar: Calendar,
    endedAt: number | undefined,
    now: number
  ): Promise<readonly LatePeriod[]> {
    const finder = periodFinder(calendar)
    const identity = { tenant, subscription }
    // What is stamped by a clock that is ahead counts, too: it is in the ledger.
    const late = await latePeriods(identity, Math.max(0, now - lookBackMs), now + lookBackMs)
    const starts = new Set(late)
    starts.add(finder.shift(period, -1).from)
    const found: LatePeriod[] = []
    for (const periodAt of [...starts].sort((a, b) => a - b)) {
      const one = finder.periodAt(periodAt)
      if (one.from !== periodAt) {
        report({ type: 'invoice.late-usage-unmatched', tenant, subscription, periodAt })
        continue
      }
      if (one.from >= period.from) continue
      if (!isOver(one, endedAt) && (await invoices.find(tenant, subscription, one))?.status !== 'final') continue
      const totals = await totalsOf({ ...identity, from: one.from, to: one.to, late: 'included' })
      const billed = await invoices.billed(tenant, subscription, one)
      if (differ(totals, billed)) found.push({ period: one, totals, billed })
    }
    return found
  }

  return {
    async make(query, { status, now, orNothing = false }) {
      const { tenant, subscription, calendar } = query
      const period = periodFinder(calendar).periodAt(query.at)
      const billed = { tenant, subscription, period }
      // Before all that it vouches for.
      const revision = await invoices.revision(tenant, subscription)
      const endedAt = await invoices.endedAt(tenant, subscription)
      const over = isOver(period, endedAt)
      const range = { tenant, subscription, from: period.from, to: period.to }
      const totals = await totalsOf({ ...range, late: over ? 'included' : 'excluded' })
      // A period after the end may be done with without an invoice, and what it had after all be on a later one.
      const before = over ? await invoices.billed(tenant, subscription, period) : []
      const late = await lateOf(billed, calendar, endedAt, now)
      const waiting = await invoices.pending(tenant, subscription)
      if (orNothing && over && late.length + waiting.length === 0 && !differ(totals, before)) {
        return { invoice: undefined, takes: [], revision, endedAt }
      }
      const card = await cardOf(billed, endedAt)
      const { currency } = card
      const lines: InvoiceLine[] = [
        ...(before.length === 0
          ? usageLines(card, totals, period, roundedPer)
          : adjustmentLines(card, totals, before, period))
      ]
      for (const one of late) {
        const own = { tenant, subscription, period: one.period }
        const its = await cardOf(own, endedAt)
        if (its.currency !== currency) {
          throw notBillable(own, `late usage of the period from ${one.period.from} is priced in ${its.currency}`)
        }
        lines.push(...adjustmentLines(its, one.totals, one.billed, one.period))
      }
      const takes: string[] = []
      for (const one of waiting) {
        if (one.currency === currency) {
          takes.push(one.idempotencyKey)
          lines.push(one.line)
        } else {
          report({ type: 'invoice.currency-mismatched', tenant, subscription, currency: one.currency })
        }
      }
      const tax = await taxOf?.(billed)
      if (tax !== undefined) {
        const rule = parseOptions(taxRuleSchema, 'taxOf', tax)
        const minorUnits = taxOnLines(lines, rule, taxRounding as Rounding)
        lines.push({ kind: 'tax', description: rule.name, period, minorUnits, exact: rule.rate })
      }
      const invoice: Invoice = {
        id: invoiceId(tenant, subscription, period),
        tenant,
        subscription,
        currency,
        period,
        status,
        issuedAt: now,
        lines: inOrder(lines),
        minorUnits: lines.reduce((sum, line) => sum + line.minorUnits, 0n)
      }
      return { invoice, takes, revision, endedAt }
    }
  }
}

/** After its end a subscription owes no flat price and no minimum for what it does not use. */
export function owedBy(card: RateCard, period: CalendarPeriod, endedAt: number | undefined): RateCard {
  return isOver(period, endedAt) ? { ...card, standing: [] } : card
}

/** Whether the subscription had ended when the period began. */
function isOver(period: CalendarPeriod, endedAt: number | undefined): boolean {
  return endedAt !== undefined && period.from >= endedAt
}

function differ(
  totals: readonly UsageTotal[],
  billed: readonly { readonly metric: string; readonly quantity: bigint; readonly events: number }[]
): boolean {
  const before = new Map(billed.map((one) => [one.metric, one]))
  return byMetric(totals).some(({ metric, quantity, events }) => {
    const known = before.get(metric)
    return known?.quantity !== quantity || known.events !== events
  })
}

function notBillable({ tenant, subscription }: BilledPeriod, reason: string): MeteringError<'NOT_BILLABLE'> {
  const message = `subscription ${subscription} cannot be billed: ${reason}`
  return new MeteringError('NOT_BILLABLE', message, { tenant, subscription, reason })
}
