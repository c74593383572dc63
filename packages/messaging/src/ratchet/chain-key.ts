import type { CryptoProvider } from '../crypto/crypto-provider.ts'

/**
 * KDF_CK of Double Ratchet §7.2: HMAC of the chain key over one byte, 0x01 for the message key and 0x02 for the next.
 */
const MESSAGE_KEY_INPUT = Uint8Array.of(0x01)
const CHAIN_KEY_INPUT = Uint8Array.of(0x02)

/** The key of the chain's next message. */
export function messageKeyOf(chainKey: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hmac(chainKey, MESSAGE_KEY_INPUT)
}

/** The chain key after that message. The step has no way back: the old one must be wiped once this is stored. */
export function nextChainKey(chainKey: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hmac(chainKey, CHAIN_KEY_INPUT)
}

/** The largest message number: counters are 32 bits on the wire. */
export const COUNT_MAX = 0xffff_ffff
