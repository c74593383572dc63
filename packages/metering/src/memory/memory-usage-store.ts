import { CoreError, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { type DedupVerdict, identityKey, judgeRepeat } from '../dedup/dedup.ts'
import { METRICS_MAX, type UsageTotal } from '../usage/totals.ts'
import type { UsageEntry, UsageStore } from '../usage/usage-store.ts'

/** Events held, some 300 MB of them: a bound for tests and demos, which is what this store is for. */
const EVENTS_MAX = 500_000

/** How much it holds. */
export interface MemoryUsageStoreOptions {
  /** Beyond it `record` throws `OVERLOADED`. 500,000 unless given. */
  readonly eventsMax?: number
}

const optionsSchema: z.ZodType<MemoryUsageStoreOptions> = z.strictObject({
  eventsMax: z.number().int().min(1).exactOptional()
})

/** Usage in this process's memory, for tests and demos: it ends with it. Throws `INVALID_OPTIONS`. */
export function memoryUsageStore(options: MemoryUsageStoreOptions = {}): UsageStore {
  const { eventsMax = EVENTS_MAX } = parseOptions(optionsSchema, 'memoryUsageStore', options)
  const ledger = new Map<string, UsageEntry>()

  return {
    supports: { durable: 'none' },
    async record(entries, { signal } = {}) {
      signal?.throwIfAborted()
      const fresh = new Map<string, UsageEntry>()
      const verdicts = entries.map((entry): DedupVerdict => {
        const key = identityKey(entry)
        const first = ledger.get(key) ?? fresh.get(key)
        if (first !== undefined) return judgeRepeat(entry.payloadHash, first)
        fresh.set(key, entry)
        return { outcome: 'new' }
      })
      if (ledger.size + fresh.size > eventsMax) {
        const what = 'the memory usage store'
        const message = `${what} holds ${ledger.size} events and takes no more than ${eventsMax}`
        throw new CoreError('OVERLOADED', message, { what, waiting: ledger.size, limit: eventsMax })
      }
      for (const [key, entry] of fresh) ledger.set(key, entry)
      return verdicts
    },
    async totals({ tenant, subscription, from, to, metric }, { signal } = {}) {
      signal?.throwIfAborted()
      const sums = new Map<string, { quantity: bigint; events: number }>()
      for (const entry of ledger.values()) {
        if (entry.tenant !== tenant || entry.subscription !== subscription) continue
        if (entry.at < from || entry.at >= to || (metric !== undefined && entry.metric !== metric)) continue
        const sum = sums.get(entry.metric) ?? { quantity: 0n, events: 0 }
        sums.set(entry.metric, { quantity: sum.quantity + BigInt(entry.quantity), events: sum.events + 1 })
      }
      const totals: UsageTotal[] = [...sums].map(([name, sum]) => ({ metric: name, ...sum }))
      return totals.sort((a, b) => (a.metric < b.metric ? -1 : 1)).slice(0, METRICS_MAX + 1)
    }
  }
}
