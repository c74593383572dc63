import { CoreError, type JsonObject, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { type DedupVerdict, identityKey, judgeRepeat } from '../dedup/repeat.ts'
import type { Rollup } from '../usage/rollup.ts'
import type { SetAsidePlace, SetAsideState, SetAsideUsage } from '../usage/set-aside.ts'
import { type LateUsage, METRICS_MAX, type UsageTotal } from '../usage/totals.ts'
import { uniqueValueOf } from '../usage/unique-value.ts'
import type { UsageEntry, UsageStore } from '../usage/usage-store.ts'

/** Events held, some 400 MB of them: a bound for tests and demos, which is what this store is for. */
const EVENTS_MAX = 500_000

/** How much it holds. */
export interface MemoryUsageStoreOptions {
  /** Beyond it `record` throws `OVERLOADED`. 500,000 unless given. */
  readonly eventsMax?: number
}

const optionsSchema: z.ZodType<MemoryUsageStoreOptions> = z.strictObject({
  eventsMax: z.number().int().min(1).exactOptional()
})

interface Kept {
  readonly entry: UsageEntry
  readonly uniqueValue: string | undefined
  readonly state: 'counted' | 'quarantine' | 'review' | 'discarded'
}

/** Usage in this process's memory, for tests and demos: it ends with it. Throws `INVALID_OPTIONS`. */
export function memoryUsageStore(options: MemoryUsageStoreOptions = {}): UsageStore {
  const { eventsMax = EVENTS_MAX } = parseOptions(optionsSchema, 'memoryUsageStore', options)
  const ledger = new Map<string, Kept>()

  /** Counted events that add to a total, by metric and rollup. */
  const counted = (wanted: (entry: UsageEntry) => boolean): Map<string, Kept[]> => {
    const groups = new Map<string, Kept[]>()
    for (const kept of ledger.values()) {
      const { entry, state, uniqueValue } = kept
      if (state !== 'counted' || !wanted(entry)) continue
      if (entry.rollup.rollup === 'unique' && uniqueValue === undefined) continue
      const key = JSON.stringify([entry.metric, entry.rollup.rollup])
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [kept])
      else group.push(kept)
    }
    return groups
  }

  return {
    supports: { durable: 'none' },
    async record(entries, { signal } = {}) {
      signal?.throwIfAborted()
      const fresh = new Map<string, UsageEntry>()
      const verdicts = entries.map((entry): DedupVerdict => {
        const key = identityKey(entry)
        const first = ledger.get(key)?.entry ?? fresh.get(key)
        if (first !== undefined) return judgeRepeat(entry.payloadHash, first)
        fresh.set(key, entry)
        return { outcome: 'new' }
      })
      if (ledger.size + fresh.size > eventsMax) {
        const what = 'the memory usage store'
        const message = `${what} holds ${ledger.size} events and takes no more than ${eventsMax}`
        throw new CoreError('OVERLOADED', message, { what, waiting: ledger.size, limit: eventsMax })
      }
      for (const [key, entry] of fresh) {
        ledger.set(key, { entry, uniqueValue: uniqueValueOf(entry), state: entry.setAside ?? 'counted' })
      }
      return verdicts
    },

    async totals({ tenant, subscription, from, to, metric, late }, { signal } = {}) {
      signal?.throwIfAborted()
      const groups = counted(
        (entry) =>
          entry.tenant === tenant &&
          entry.subscription === subscription &&
          entry.at >= from &&
          entry.at < to &&
          (metric === undefined || entry.metric === metric) &&
          (late !== 'excluded' || entry.lateness !== 'adjustment')
      )
      const totals = [...groups].map(([key, group]): UsageTotal => {
        const [name, rollup] = JSON.parse(key) as [string, Rollup]
        return { metric: name, rollup, quantity: quantityOf(rollup, group), events: group.length }
      })
      return totals.sort((a, b) => compare(a.metric, b.metric) || compare(a.rollup, b.rollup)).slice(0, METRICS_MAX + 1)
    },

    async adjustments({ tenant, subscription, receivedFrom, receivedTo }, { signal } = {}) {
      signal?.throwIfAborted()
      const of = (entry: UsageEntry): boolean => entry.tenant === tenant && entry.subscription === subscription
      const isLate = (entry: UsageEntry): boolean => entry.lateness === 'adjustment'
      const found: LateUsage[] = []
      const added = counted(
        (entry) => of(entry) && isLate(entry) && countedAt(entry) >= receivedFrom && countedAt(entry) < receivedTo
      )
      for (const [key, group] of added) {
        const [metric, rollup] = JSON.parse(key) as [string, Rollup]
        for (const [periodAt, late] of Map.groupBy(group, ({ entry }) => entry.latePeriodAt as number)) {
          const endsAt = (late[0] as Kept).entry.latePeriodEndsAt as number
          const before = (cut: number): bigint => {
            const inPeriod = counted(
              (entry) =>
                of(entry) && entry.at >= periodAt && entry.at < endsAt && (!isLate(entry) || countedAt(entry) < cut)
            ).get(key)
            return inPeriod === undefined ? 0n : quantityOf(rollup, inPeriod)
          }
          const quantity = rollup === 'sum' ? quantityOf('sum', late) : before(receivedTo) - before(receivedFrom)
          found.push({ periodAt, metric, rollup, quantity, events: late.length })
        }
      }
      return found
        .sort((a, b) => a.periodAt - b.periodAt || compare(a.metric, b.metric) || compare(a.rollup, b.rollup))
        .slice(0, METRICS_MAX + 1)
    },

    async setAside({ tenant, reason, after, limit }, { signal } = {}) {
      signal?.throwIfAborted()
      return [...ledger.values()]
        .filter(({ entry, state }) => entry.tenant === tenant && state === reason)
        .map(({ entry }) => setAsideOf(entry, reason))
        .sort(comparePlaces)
        .filter((usage) => after === undefined || comparePlaces(usage, after) > 0)
        .slice(0, limit)
    },

    async find(identity, { signal } = {}) {
      signal?.throwIfAborted()
      const kept = ledger.get(identityKey(identity))
      if (kept === undefined) return { state: 'unknown' }
      const { entry, state } = kept
      return state === 'counted' || state === 'discarded'
        ? { state }
        : ({ state: 'set-aside', usage: setAsideOf(entry, state) } satisfies SetAsideState)
    },

    async decide(decision, { signal } = {}) {
      signal?.throwIfAborted()
      const key = identityKey(decision)
      const kept = ledger.get(key)
      if (kept === undefined) return 'unknown'
      if (kept.state !== decision.reason) return 'decided-before'
      const { entry } = kept
      const period = decision.as === 'discarded' ? undefined : decision.period
      ledger.set(key, {
        ...kept,
        state: decision.as,
        entry: {
          ...entry,
          countedAt: decision.decidedAt,
          ...(period === undefined ? {} : { latePeriodAt: period.from, latePeriodEndsAt: period.to }),
          ...(decision.as === 'counted' ? { at: decision.at, lateness: decision.lateness } : {})
        }
      })
      return 'decided'
    }
  }
}

const countedAt = (entry: UsageEntry): number => entry.countedAt ?? entry.receivedAt

function quantityOf(rollup: Rollup, group: readonly Kept[]): bigint {
  if (rollup === 'unique') return BigInt(new Set(group.map(({ uniqueValue }) => uniqueValue)).size)
  const entries = group.map(({ entry }) => entry)
  if (rollup === 'sum') return entries.reduce((sum, { quantity }) => sum + BigInt(quantity), 0n)
  const after = rollup === 'max' ? (a: UsageEntry, b: UsageEntry) => a.quantity - b.quantity : compareUse
  return BigInt(entries.reduce((last, entry) => (after(entry, last) > 0 ? entry : last)).quantity)
}

function compareUse(a: UsageEntry, b: UsageEntry): number {
  return a.at - b.at || a.receivedAt - b.receivedAt || a.quantity - b.quantity
}

function setAsideOf(entry: UsageEntry, reason: SetAsideUsage['reason']): SetAsideUsage {
  const { tenant, subscription, transactionId, source, metric, quantity, at, propertiesJson, receivedAt } = entry
  const { latePeriodAt: from, latePeriodEndsAt: to } = entry
  return {
    tenant,
    subscription,
    transactionId,
    reason,
    ...(source === undefined ? {} : { source }),
    metric,
    quantity,
    at,
    properties: JSON.parse(propertiesJson) as JsonObject,
    receivedAt,
    ...(from === undefined || to === undefined ? {} : { period: { from, to } })
  }
}

function comparePlaces(a: SetAsidePlace, b: SetAsidePlace): number {
  return (
    a.receivedAt - b.receivedAt || compare(a.subscription, b.subscription) || compare(a.transactionId, b.transactionId)
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
