import type { CalendarPeriod } from '../calendar/calendar.ts'
import type { MeteredAmount, MetricComparison } from './comparison.ts'

/** What a run found where a subscription's period was not in order. */
export type Finding = {
  readonly tenant: string
  readonly subscription: string
  readonly period: CalendarPeriod
} & (
  | {
      readonly outcome: 'differs'
      readonly currency: string
      readonly watermarkAt: number
      /** The metrics that differ, as they were found. */
      readonly metrics: readonly MetricComparison[]
      readonly minorUnits: bigint
      /** Whether adjustments have put it right. */
      readonly adjusted: boolean
    }
  | { readonly outcome: 'not-invoiced'; readonly events: number }
  /** It could not be compared: the error's name and code, such as `MeteringError NOT_BILLABLE`. */
  | { readonly outcome: 'failed'; readonly reason: string }
)

/** A pass over all subscriptions. */
export interface ReconciliationRun {
  /** `nightly-` and the instant it was due at, or as it was named. */
  readonly run: string
  /** Epoch milliseconds. */
  readonly startedAt: number
  /** Undefined while it goes on. */
  readonly endedAt: number | undefined
  /** Periods that were compared, and how many of them were not in order. */
  readonly checked: number
  readonly differing: number
  readonly notInvoiced: number
  /** Subscriptions of which nothing is known, because their comparison failed. */
  readonly failed: number
}

type AmountText = readonly [events: number, quantity: string, minorUnits: string]
type MetricText = readonly [
  metric: string,
  verdict: MetricComparison['verdict'],
  processed: AmountText,
  billed: AmountText,
  difference: AmountText
]

const written = ({ events, quantity, minorUnits }: MeteredAmount): AmountText => [
  events,
  quantity.toString(),
  minorUnits.toString()
]
const readAmount = ([events, quantity, minorUnits]: AmountText): MeteredAmount => ({
  events,
  quantity: BigInt(quantity),
  minorUnits: BigInt(minorUnits)
})

/** What of a finding is not in columns, as JSON: bigints have none. */
export function findingText(finding: Finding): string {
  if (finding.outcome === 'failed') return JSON.stringify({ reason: finding.reason })
  if (finding.outcome === 'not-invoiced') return JSON.stringify({ events: finding.events })
  const { currency, watermarkAt, metrics, minorUnits } = finding
  return JSON.stringify({
    currency,
    watermarkAt,
    minorUnits: minorUnits.toString(),
    metrics: metrics.map(
      ({ metric, verdict, processed, billed, difference }): MetricText => [
        metric,
        verdict,
        written(processed),
        written(billed),
        written(difference)
      ]
    )
  })
}

/** The reverse of `findingText`. */
export function findingOf(
  whose: Pick<Finding, 'tenant' | 'subscription' | 'period'>,
  outcome: Finding['outcome'],
  text: string,
  adjusted: boolean
): Finding {
  const known = JSON.parse(text) as never
  if (outcome === 'failed') return { ...whose, outcome, reason: (known as { reason: string }).reason }
  if (outcome === 'not-invoiced') return { ...whose, outcome, events: (known as { events: number }).events }
  const { currency, watermarkAt, minorUnits, metrics } = known as {
    currency: string
    watermarkAt: number
    minorUnits: string
    metrics: readonly MetricText[]
  }
  return {
    ...whose,
    outcome,
    currency,
    watermarkAt,
    minorUnits: BigInt(minorUnits),
    adjusted,
    metrics: metrics.map(([metric, verdict, processed, billed, difference]) => ({
      metric,
      verdict,
      processed: readAmount(processed),
      billed: readAmount(billed),
      difference: readAmount(difference)
    }))
  }
}
