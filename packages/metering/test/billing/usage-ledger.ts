import type { Calendar, InvoicingOptions, UsageTotal } from '@enablement/metering'
import { periodFinder } from '@enablement/metering'

/** An event as a ledger has it. */
export interface LedgerEvent {
  readonly metric: string
  readonly quantity: number
  readonly at: number
  readonly receivedAt: number
}

const DAY = 86_400_000

/** The model of a usage store for invoices: sums over a list, with what is late by MT-3. */
export function usageLedger(calendar: Calendar, events: LedgerEvent[] = []) {
  const finder = periodFinder(calendar)
  const isLate = ({ at, receivedAt }: LedgerEvent): boolean => receivedAt > finder.periodAt(at).to + DAY
  const sum = (list: readonly LedgerEvent[]): UsageTotal[] => {
    const sums = new Map<string, UsageTotal>()
    for (const { metric, quantity } of list) {
      const before = sums.get(metric) ?? { metric, rollup: 'sum', quantity: 0n, events: 0 }
      sums.set(metric, { ...before, quantity: before.quantity + BigInt(quantity), events: before.events + 1 })
    }
    return [...sums.values()].sort((a, b) => (a.metric < b.metric ? -1 : 1))
  }
  const usage: InvoicingOptions['usage'] = {
    async totals({ from, to, late }) {
      return sum(events.filter((event) => event.at >= from && event.at < to && (late !== 'excluded' || !isLate(event))))
    },
    async adjustments({ receivedFrom, receivedTo }) {
      const late = events.filter(
        (event) => isLate(event) && event.receivedAt >= receivedFrom && event.receivedAt < receivedTo
      )
      const starts = [...new Set(late.map(({ at }) => finder.periodAt(at).from))].sort((a, b) => a - b)
      return starts.flatMap((periodAt) =>
        sum(late.filter(({ at }) => finder.periodAt(at).from === periodAt)).map((total) => ({ ...total, periodAt }))
      )
    }
  }
  return { usage, events }
}
