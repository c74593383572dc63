import type { CalendarPeriod } from '../calendar/calendar.ts'
import type { InvoiceLine } from './invoice.ts'
import type { BilledUsage } from './invoice-store.ts'

/** Adds up what lines bill for a period, per metric, by name in code unit order. Lines of no metric do not count. */
export function billedUsage(lines: Iterable<InvoiceLine>, period: CalendarPeriod): readonly BilledUsage[] {
  const sums = new Map<string, BilledUsage>()
  for (const line of lines) {
    const { metric, quantity = 0n, events = 0, minorUnits } = line
    if (metric === undefined || line.period.from !== period.from || line.period.to !== period.to) continue
    const sum = sums.get(metric) ?? { metric, quantity: 0n, events: 0, minorUnits: 0n }
    sums.set(metric, {
      metric,
      quantity: sum.quantity + quantity,
      events: sum.events + events,
      minorUnits: sum.minorUnits + minorUnits
    })
  }
  return [...sums.values()].sort((a, b) => (a.metric < b.metric ? -1 : 1))
}
