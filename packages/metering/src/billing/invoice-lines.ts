import type { CalendarPeriod } from '../calendar/calendar.ts'
import { roundTogether } from '../money/allocation.ts'
import { minorUnitDigits } from '../money/currency.ts'
import { writeExact } from '../money/decimal-text.ts'
import type { Ratio } from '../money/ratio.ts'
import type { UsageTotal } from '../usage/totals.ts'
import type { InvoiceLine } from './invoice.ts'
import type { BilledUsage } from './invoice-store.ts'
import type { RateCard } from './rate-card.ts'

/**
 * A line for each metric that was used in the period, and for those that cost something anyway. Rounded for themselves
 * (`line`), or so that they add up to the rounded sum of the exact prices (`invoice`).
 */
export function usageLines(
  card: RateCard,
  totals: readonly UsageTotal[],
  period: CalendarPeriod,
  roundedPer: 'line' | 'invoice'
): readonly InvoiceLine[] {
  const used = new Map(byMetric(totals).map(({ metric, quantity, events }) => [metric, { quantity, events }]))
  for (const metric of card.standing) if (!used.has(metric)) used.set(metric, { quantity: 0n, events: 0 })
  const metrics = [...used].sort(([a], [b]) => (a < b ? -1 : 1))
  const exact = metrics.map(([metric, { quantity }]) => card.exact(metric, quantity))
  const amounts =
    roundedPer === 'line'
      ? metrics.map(([metric, { quantity }]) => card.price(metric, quantity).minorUnits)
      : roundTogether(
          exact.map((ratio) => inMinorUnits(ratio, card.currency)),
          card.rounding
        )
  return metrics.map(([metric, { quantity, events }], at) => ({
    kind: 'usage',
    description: metric,
    period,
    metric,
    quantity,
    events,
    minorUnits: amounts[at] as bigint,
    exact: textOf(exact[at] as Ratio)
  }))
}

/**
 * What usage of an earlier period costs beyond what was billed: the price of all of it less the price of what was billed,
 * by that period's card. Late units so cost what they would have cost in time, in whichever tier they lie.
 */
export function adjustmentLines(
  card: RateCard,
  totals: readonly UsageTotal[],
  billed: readonly BilledUsage[],
  period: CalendarPeriod
): readonly InvoiceLine[] {
  const before = new Map(billed.map((one) => [one.metric, one]))
  return byMetric(totals).flatMap(({ metric, quantity, events }): InvoiceLine[] => {
    const known = before.get(metric)
    const quantityBefore = known?.quantity ?? 0n
    const eventsBefore = known?.events ?? 0
    if (quantity === quantityBefore && events === eventsBefore) return []
    // A correction may have billed less than nothing, which has no price.
    const priced = quantityBefore < 0n ? 0n : quantityBefore
    const isFirst = known === undefined && !card.standing.includes(metric)
    const after = card.price(metric, quantity).minorUnits
    const paid = isFirst ? 0n : card.price(metric, priced).minorUnits
    const [a, b] = [card.exact(metric, quantity), isFirst ? undefined : card.exact(metric, priced)]
    return [
      {
        kind: 'adjustment',
        description: `${metric}, received late`,
        period,
        metric,
        quantity: quantity - quantityBefore,
        events: events - eventsBefore,
        minorUnits: after - paid,
        exact: textOf(b === undefined ? a : minus(a, b))
      }
    ]
  })
}

/** What was used of a metric. One whose rollup was changed has a total for each, and is billed for all of them. */
export function byMetric(totals: readonly UsageTotal[]): readonly Omit<UsageTotal, 'rollup'>[] {
  const sums = new Map<string, Omit<UsageTotal, 'rollup'>>()
  for (const { metric, quantity, events } of totals) {
    const before = sums.get(metric)
    sums.set(metric, {
      metric,
      quantity: (before?.quantity ?? 0n) + quantity,
      events: (before?.events ?? 0) + events
    })
  }
  return [...sums.values()]
}

const KINDS = ['plan', 'usage', 'proration', 'adjustment', 'credit', 'tax'] as const

/** One order for the same lines in every process: by kind, period and metric, and otherwise as they came. */
export function inOrder(lines: readonly InvoiceLine[]): readonly InvoiceLine[] {
  return lines
    .map((line, at) => ({ line, at }))
    .sort(
      (a, b) =>
        KINDS.indexOf(a.line.kind) - KINDS.indexOf(b.line.kind) ||
        a.line.period.from - b.line.period.from ||
        a.line.period.to - b.line.period.to ||
        compareText(a.line.metric ?? '', b.line.metric ?? '') ||
        a.at - b.at
    )
    .map(({ line }) => line)
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const minus = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.denominator - b.numerator * a.denominator,
  denominator: a.denominator * b.denominator
})

const textOf = ({ numerator, denominator }: Ratio): string => writeExact(numerator, denominator)

const inMinorUnits = ({ numerator, denominator }: Ratio, currency: string): Ratio => ({
  numerator: numerator * 10n ** BigInt(minorUnitDigits(currency)),
  denominator
})
