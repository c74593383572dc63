import type { ReceivingChain } from './receiving-chain.ts'
import { RECEIVING_CHAINS_MAX } from './receiving-chain.ts'

/**
 * Ratchet keys remembered after their chains are gone: enough that a duplicate delayed by 32 turns is told from a
 * forgery.
 */
export const RETIRED_KEYS_MAX = 32

/**
 * Bytes kept of each. A key that agrees in 64 bits by chance is met once in 10^19 steps; making one harms its maker.
 */
export const RETIRED_KEY_BYTES = 8

/**
 * Whether the header's ratchet key belongs to a chain that is gone. Without this, a late duplicate would cost a DH
 * step.
 */
export function isRetired(retired: readonly Uint8Array[], ratchetKey: Uint8Array): boolean {
  return retired.some((prefix) => prefix.every((byte, at) => byte === ratchetKey[at]))
}

/**
 * Lets go of the chains that can open nothing any more (closed, and no key left) and of those beyond
 * `RECEIVING_CHAINS_MAX`, and remembers their ratchet keys.
 */
export function retireChains(
  chains: readonly ReceivingChain[],
  retired: readonly Uint8Array[]
): { readonly chains: readonly ReceivingChain[]; readonly retired: readonly Uint8Array[] } {
  const isKept = (chain: ReceivingChain, at: number): boolean =>
    at < RECEIVING_CHAINS_MAX && (chain.chainKey !== undefined || chain.skipped.size > 0)
  if (chains.every(isKept)) return { chains, retired }
  const gone = chains.filter((chain, at) => !isKept(chain, at))
  return {
    chains: chains.filter(isKept),
    retired: [...gone.map(({ ratchetKey }) => ratchetKey.slice(0, RETIRED_KEY_BYTES)), ...retired].slice(
      0,
      RETIRED_KEYS_MAX
    )
  }
}
