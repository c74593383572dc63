import type { ReceivingChain } from './receiving-chain.ts'

/** A message key set aside because its message has not arrived yet. */
export interface SkippedKey {
  readonly messageKey: Uint8Array
  /** When it was set aside, in whole minutes since the Unix epoch. */
  readonly sinceMinutes: number
}

/**
 * Messages that one message may skip, in each of the two chains it can skip in. A header is believed this far before
 * it is authenticated, at two hashes each: 1,000 take about 5 ms with Node's hashes and 10 with noble's.
 */
export const SKIP_MAX = 1_000

/**
 * Skipped keys that a session keeps, 80 KB of record. Beyond, the oldest make way: their messages are taken as lost.
 */
export const SKIPPED_KEYS_MAX = 2_000

/** Skipped keys older than this are dropped, so that a message held back cannot be opened for ever (§8.4): 30 days. */
export const SKIPPED_AGE_MAX_MINUTES = 30 * 24 * 60

/**
 * Drops the keys that are too old, then the oldest of those that are too many. Keys stand in the order in which they
 * were set aside, in every chain, and chains stand newest first; so the oldest are found without sorting.
 */
export function boundSkippedKeys(chains: readonly ReceivingChain[], nowMinutes: number): readonly ReceivingChain[] {
  let total = 0
  let aged = false
  for (const { skipped } of chains) {
    total += skipped.size
    const [oldest] = skipped.values()
    if (oldest !== undefined && nowMinutes - oldest.sinceMinutes > SKIPPED_AGE_MAX_MINUTES) aged = true
  }
  if (total <= SKIPPED_KEYS_MAX && !aged) return chains

  let excess = total - SKIPPED_KEYS_MAX
  return chains
    .toReversed()
    .map((chain) => {
      const kept = new Map(chain.skipped)
      for (const [count, { sinceMinutes }] of chain.skipped) {
        if (excess <= 0 && nowMinutes - sinceMinutes <= SKIPPED_AGE_MAX_MINUTES) break
        kept.delete(count)
        excess -= 1
      }
      return kept.size === chain.skipped.size ? chain : { ...chain, skipped: kept }
    })
    .toReversed()
}
