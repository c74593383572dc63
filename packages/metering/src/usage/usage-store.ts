import type { DedupVerdict } from '../dedup/dedup.ts'
import type { CheckedUsage } from '../event/parse-usage-event.ts'
import type { TotalsQuery, UsageTotal } from './totals.ts'

/** An event on its way into the ledger. */
export interface UsageEntry extends CheckedUsage {
  readonly payloadHash: string
  /** When it was received: epoch milliseconds. */
  readonly receivedAt: number
}

/** What a usage store can promise. */
export interface UsageStoreSupports {
  /** What a recorded event survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
}

/** The ledger of usage and its totals. */
export interface UsageStore {
  readonly supports: UsageStoreSupports
  /**
   * Counts the entries that are new, all or none of them, each in the ledger and in its total in one unit, and gives a
   * verdict for each in order. An identity is counted once, also when it comes twice in `entries` or at the same time
   * from elsewhere. Takes at most `ENTRIES_MAX` entries.
   *
   * Throws an error of the suite when the store failed; the entries are then counted wholly or not at all.
   */
  record(entries: readonly UsageEntry[], options?: { readonly signal?: AbortSignal }): Promise<readonly DedupVerdict[]>
  /** The totals per metric, by name in code unit order, at most `METRICS_MAX` of them and one more. */
  totals(query: TotalsQuery, options?: { readonly signal?: AbortSignal }): Promise<readonly UsageTotal[]>
}

/** Entries that one unit takes: the writer is held for a few milliseconds at most. */
export const ENTRIES_MAX = 256
