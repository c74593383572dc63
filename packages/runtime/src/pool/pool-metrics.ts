import type { PoolTotals } from './pool-state-store.ts'
import { quantile, samples } from './samples.ts'

/** Quantiles of the latest 512 measurements, in milliseconds; null without any. */
export interface Quantiles {
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

/** How a pool does. */
export interface PoolMetrics {
  /** Of the latest 512 claims that were granted, those that got a sandbox which had been kept ready; null without any. */
  readonly hitRate: number | null
  /** From the call to the sandbox. */
  readonly waitMs: Quantiles
  /** The same, by where the sandbox came from. */
  readonly claimLatencyMs: { readonly warm: Quantiles; readonly cold: Quantiles }
  readonly claimed: { readonly warm: number; readonly cold: number; readonly checkpoint: number }
  readonly refused: number
  /** Claims of this process that were saved and ended for others. */
  readonly preemptions: number
  /** Those that could not be saved and went on. */
  readonly preemptionFailures: number
  /** Sandboxes that could not be started. */
  readonly replenishFailures: number
  /** Sandboxes that were not handed out because they were too old, of another configuration, or lost. */
  readonly rejected: number
  /** This process's sandboxes by state. */
  readonly sizes: {
    readonly starting: number
    readonly ready: number
    readonly stale: number
    readonly claimed: number
    readonly closing: number
  }
  /** How many it wants to keep ready. */
  readonly target: number
  /** Claims that wait, in all processes, as of the last exchange. */
  readonly queueDepth: number
  readonly oldestWaitMs: number
  /** All processes, as of the last exchange. */
  readonly pool: PoolTotals
}

export type ClaimSource = 'warm' | 'cold' | 'checkpoint'

/** Counts for `PoolMetrics`; takes the same memory however long it counts. */
export interface PoolCounters {
  readonly counts: {
    refused: number
    preemptions: number
    preemptionFailures: number
    replenishFailures: number
    rejected: number
  }
  claimed(from: ClaimSource, waitedMs: number): void
  read(): Pick<PoolMetrics, 'hitRate' | 'waitMs' | 'claimLatencyMs' | 'claimed'>
}

const KEPT = 512

export function poolCounters(): PoolCounters {
  const hits = samples(KEPT)
  const waits = samples(KEPT)
  const latencies = { warm: samples(KEPT), cold: samples(KEPT), checkpoint: samples(KEPT) }
  const claimed = { warm: 0, cold: 0, checkpoint: 0 }
  return {
    counts: { refused: 0, preemptions: 0, preemptionFailures: 0, replenishFailures: 0, rejected: 0 },
    claimed(from, waitedMs) {
      claimed[from] += 1
      hits.add(from === 'warm' ? 1 : 0)
      waits.add(waitedMs)
      latencies[from].add(waitedMs)
    },
    read() {
      const seen = hits.values()
      return {
        hitRate: seen.length === 0 ? null : seen.reduce((sum, hit) => sum + hit, 0) / seen.length,
        waitMs: quantiles(waits.values()),
        claimLatencyMs: { warm: quantiles(latencies.warm.values()), cold: quantiles(latencies.cold.values()) },
        claimed: { ...claimed }
      }
    }
  }
}

function quantiles(values: readonly number[]): Quantiles {
  const at = (ratio: number): number | null => quantile(values, ratio) ?? null
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}
