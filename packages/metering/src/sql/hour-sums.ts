import { HOUR_MS } from '../usage/totals.ts'
import type { UsageEntry } from '../usage/usage-store.ts'

/** What some events add to one hour of one metric. Sums of safe integers: a batch has 256 events. */
export interface HourSum {
  readonly tenant: string
  readonly subscription: string
  readonly metric: string
  /** The hour's start, epoch milliseconds. */
  readonly hourAt: number
  readonly millions: number
  readonly rest: number
  readonly events: number
}

const MILLION = 1_000_000

/** Adds events up by subscription, metric and hour, in the order of those. */
export function hourSums(entries: readonly UsageEntry[]): readonly HourSum[] {
  const sums = new Map<string, HourSum>()
  for (const { tenant, subscription, metric, at, quantity } of entries) {
    const hourAt = Math.floor(at / HOUR_MS) * HOUR_MS
    const key = JSON.stringify([tenant, subscription, metric, hourAt])
    const sum = sums.get(key)
    sums.set(key, {
      tenant,
      subscription,
      metric,
      hourAt,
      millions: (sum?.millions ?? 0) + Math.floor(quantity / MILLION),
      rest: (sum?.rest ?? 0) + (quantity % MILLION),
      events: (sum?.events ?? 0) + 1
    })
  }
  return [...sums.values()].sort(
    (a, b) =>
      compare(a.tenant, b.tenant) ||
      compare(a.subscription, b.subscription) ||
      compare(a.metric, b.metric) ||
      a.hourAt - b.hourAt
  )
}

/** Orders by identity. */
export function compareEntries(a: UsageEntry, b: UsageEntry): number {
  return (
    compare(a.tenant, b.tenant) || compare(a.subscription, b.subscription) || compare(a.transactionId, b.transactionId)
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
