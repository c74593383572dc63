import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { wipe } from '../crypto/wipe.ts'
import { messageKeyOf, nextChainKey } from './chain-key.ts'
import type { SkippedKey } from './skipped-keys.ts'

/** The messages of one of the peer's ratchet keys. */
export interface ReceivingChain {
  readonly ratchetKey: Uint8Array
  /** None when the peer has moved on and every key of the chain has been derived: it cannot grow any more. */
  readonly chainKey: Uint8Array | undefined
  /** Messages [0, count) have been opened or set aside. */
  readonly count: number
  readonly skipped: ReadonlyMap<number, SkippedKey>
}

/**
 * Chains whose late messages still open. As many as vodozemac and libsignal keep: a message overtaken by five changes
 * of ratchet key is given up.
 */
export const RECEIVING_CHAINS_MAX = 5

/**
 * Derives the keys of messages [chain.count, until) and sets them aside, so that messages overtaken in transit still
 * open when they land. Double Ratchet §2.6.
 *
 * `until` comes from an unauthenticated header. Without a bound a peer could ask for 2^32 hashes with one short message
 * (§8.4), so `classifyHeader` has checked it before the first derivation. Gives a copy: the caller stores it only
 * after the tag verifies, or one forged header would burn keys that honest messages still need.
 */
export function skipTo(
  chain: ReceivingChain,
  until: number,
  sinceMinutes: number,
  crypto: CryptoProvider
): ReceivingChain {
  let { chainKey, count } = chain
  if (chainKey === undefined || until <= count) return chain
  const skipped = new Map(chain.skipped)
  for (; count < until; count += 1) {
    skipped.set(count, { messageKey: messageKeyOf(chainKey, crypto), sinceMinutes })
    const next = nextChainKey(chainKey, crypto)
    // The chain's own key belongs to the state that is still in force.
    if (chainKey !== chain.chainKey) wipe(chainKey)
    chainKey = next
  }
  return { ...chain, chainKey, count, skipped }
}

/** Takes the key of the chain's next message. The chain must be able to grow. */
export function takeNext(
  chain: ReceivingChain & { readonly chainKey: Uint8Array },
  crypto: CryptoProvider
): { readonly chain: ReceivingChain; readonly messageKey: Uint8Array } {
  const messageKey = messageKeyOf(chain.chainKey, crypto)
  const chainKey = nextChainKey(chain.chainKey, crypto)
  return { chain: { ...chain, chainKey, count: chain.count + 1 }, messageKey }
}

/** Takes out the key of a message that was skipped before. */
export function takeSkipped(chain: ReceivingChain, count: number): ReceivingChain {
  const skipped = new Map(chain.skipped)
  skipped.delete(count)
  return { ...chain, skipped }
}
