import type { UsageIdentity } from '../event/usage-event.ts'
import type { Rollup } from '../usage/rollup.ts'
import { HOUR_MS } from '../usage/totals.ts'

/** What of a counted event goes into its hour. */
export interface CountedUse {
  readonly tenant: string
  readonly subscription: string
  readonly metric: string
  readonly rollup: Rollup
  /** 1 when it came too late for the bill of its period. */
  readonly late: 0 | 1
  readonly quantity: number
  readonly at: number
  readonly receivedAt: number
}

/** What some events add to one hour of one metric. Sums of safe integers: a batch has 256 events. */
export interface HourRollup {
  readonly tenant: string
  readonly subscription: string
  readonly metric: string
  readonly rollup: Rollup
  readonly late: 0 | 1
  /** The hour's start, epoch milliseconds. */
  readonly hour_at: number
  quantity_millions: number
  quantity_rest: number
  events: number
  /** The largest quantity under `max`, with two zeros; the last one under `latest`, with its two times; else zeros. */
  peak: number
  peak_at: number
  peak_received_at: number
}

const MILLION = 1_000_000

/**
 * Adds events up by hour, in the order of the table's key: units that meet take their locks in one order. How many
 * different values a property has does not add up by the hour: `unique` is counted from the ledger.
 */
export function hourRollups(uses: readonly CountedUse[]): readonly HourRollup[] {
  const hours = new Map<string, HourRollup>()
  for (const use of uses) {
    if (use.rollup === 'unique') continue
    const { tenant, subscription, metric, rollup, late, quantity } = use
    const hourAt = Math.floor(use.at / HOUR_MS) * HOUR_MS
    const key = JSON.stringify([tenant, subscription, metric, rollup, late, hourAt])
    let hour = hours.get(key)
    if (hour === undefined) {
      const none = { quantity_millions: 0, quantity_rest: 0, events: 0, peak: 0, peak_at: 0, peak_received_at: 0 }
      hour = { tenant, subscription, metric, rollup, late, hour_at: hourAt, ...none }
      hours.set(key, hour)
    }
    hour.quantity_millions += Math.floor(quantity / MILLION)
    hour.quantity_rest += quantity % MILLION
    hour.events += 1
    if (rollup === 'max') hour.peak = Math.max(hour.peak, quantity)
    else if (rollup === 'latest' && isLater(use, hour)) {
      hour.peak = quantity
      hour.peak_at = use.at
      hour.peak_received_at = use.receivedAt
    }
  }
  if (hours.size === 1) return [...hours.values()]
  return [...hours.values()].sort(
    (a, b) =>
      compareText(a.tenant, b.tenant) ||
      compareText(a.subscription, b.subscription) ||
      compareText(a.metric, b.metric) ||
      compareText(a.rollup, b.rollup) ||
      a.late - b.late ||
      a.hour_at - b.hour_at
  )
}

function isLater(use: CountedUse, hour: HourRollup): boolean {
  return (use.at - hour.peak_at || use.receivedAt - hour.peak_received_at || use.quantity - hour.peak) > 0
}

/** Orders by identity. */
export function compareIdentities(a: UsageIdentity, b: UsageIdentity): number {
  return (
    compareText(a.tenant, b.tenant) ||
    compareText(a.subscription, b.subscription) ||
    compareText(a.transactionId, b.transactionId)
  )
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
