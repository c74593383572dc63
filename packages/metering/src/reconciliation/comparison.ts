import type { BilledUsage } from '../billing/invoice-store.ts'
import type { RateCard } from '../billing/rate-card.ts'
import { isWithin, type Tolerance } from './tolerance.ts'

/** How much of a metric, of how many events, at what price. */
export interface MeteredAmount {
  readonly events: number
  readonly quantity: bigint
  /** In the currency's minor unit. */
  readonly minorUnits: bigint
}

/** One metric of one period, as the ledger has it and as the bills have it. */
export interface MetricComparison {
  readonly metric: string
  /** What the ledger has, and what that costs. */
  readonly processed: MeteredAmount
  /** What final invoices and pending adjustments bill. */
  readonly billed: MeteredAmount
  /** Billed less processed, each signed: what is negative is billed too little, what is positive too much. */
  readonly difference: MeteredAmount
  readonly verdict: ComparisonVerdict
}

export type ComparisonVerdict = 'agrees' | 'within-tolerance' | 'differs'

/** Events and their quantity, per metric. */
export type MeteredUsage = ReadonlyMap<string, Pick<MeteredAmount, 'events' | 'quantity'>>

/** What to compare. */
export interface ComparisonInput {
  readonly card: RateCard
  readonly roundedPer: 'line' | 'invoice'
  readonly tolerance: Tolerance
  /** What surely had to be billed by the watermark. */
  readonly settled: MeteredUsage
  /** The same with what was counted about the time of the watermark, which may have been billed or not. */
  readonly around: MeteredUsage
  readonly billed: readonly BilledUsage[]
}

/** Compares each metric that was used, billed, or costs something anyway, by name in code unit order. Throws as `card`. */
export function compareMetrics(input: ComparisonInput): readonly MetricComparison[] {
  const { card, settled, around } = input
  const billed = new Map(input.billed.map((one) => [one.metric, one]))
  const metrics = new Set([...settled.keys(), ...around.keys(), ...billed.keys(), ...card.standing])
  return [...metrics].sort().map((metric) => compareMetric(metric, billed.get(metric), input))
}

const NOTHING: MeteredAmount = { events: 0, quantity: 0n, minorUnits: 0n }

function compareMetric(metric: string, found: BilledUsage | undefined, input: ComparisonInput): MetricComparison {
  const { card, roundedPer, tolerance, settled, around } = input
  const { events, quantity, minorUnits }: MeteredAmount = found ?? NOTHING
  const billed = { events, quantity, minorUnits }
  const used = usedBy(billed, settled.get(metric) ?? NOTHING, around.get(metric) ?? NOTHING)
  // A metric that costs something unused has a line of its own; another that was neither used nor billed costs nothing.
  const isIdle = used.events === 0 && used.quantity === 0n && !card.standing.includes(metric)
  const price = isIdle ? 0n : card.price(metric, used.quantity).minorUnits
  const isExact = used.events === events && used.quantity === quantity
  // Rounded together with the other lines of its invoice, an amount is a neighbour of the one rounded for itself.
  const isNeighbour = roundedPer === 'invoice' && isExact && minorUnits >= price - 1n && minorUnits <= price + 1n
  const processed = { ...used, minorUnits: isNeighbour ? minorUnits : price }
  const difference = {
    events: events - processed.events,
    quantity: quantity - processed.quantity,
    minorUnits: minorUnits - processed.minorUnits
  }
  return { metric, processed, billed, difference, verdict: judge(difference, processed, tolerance) }
}

/** What was used by the time of the bill, which took along what was counted about then, in part or as a whole. */
function usedBy(
  billed: MeteredAmount,
  settled: Pick<MeteredAmount, 'events' | 'quantity'>,
  around: Pick<MeteredAmount, 'events' | 'quantity'>
): Pick<MeteredAmount, 'events' | 'quantity'> {
  const { events, quantity } = billed
  const [low, high] = [settled, around].map(({ events: e, quantity: q }) => ({ events: e, quantity: q }))
  if (low === undefined || high === undefined || events <= low.events) return low ?? NOTHING
  if (events >= high.events) return high
  const [least, most] = low.quantity < high.quantity ? [low.quantity, high.quantity] : [high.quantity, low.quantity]
  return quantity >= least && quantity <= most ? { events, quantity } : low
}

function judge(difference: MeteredAmount, processed: MeteredAmount, tolerance: Tolerance): ComparisonVerdict {
  const { events, quantity, minorUnits } = difference
  if (events === 0 && quantity === 0n && minorUnits === 0n) return 'agrees'
  const { ratio = '0' } = tolerance
  const passes =
    isWithin(BigInt(events), BigInt(processed.events), BigInt(tolerance.events ?? 0), ratio) &&
    isWithin(quantity, processed.quantity, tolerance.quantity ?? 0n, ratio) &&
    isWithin(minorUnits, processed.minorUnits, tolerance.minorUnits ?? 0n, ratio)
  return passes ? 'within-tolerance' : 'differs'
}

/** The worst of the verdicts. */
export function overallVerdict(metrics: readonly MetricComparison[]): ComparisonVerdict {
  const has = (verdict: ComparisonVerdict): boolean => metrics.some((one) => one.verdict === verdict)
  if (has('differs')) return 'differs'
  return has('within-tolerance') ? 'within-tolerance' : 'agrees'
}
