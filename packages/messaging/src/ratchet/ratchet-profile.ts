import type { CryptoProvider } from '../crypto/crypto-provider.ts'
import { isCanonical, KEY_BYTES } from '../crypto/curve25519.ts'
import { TAG_BYTES } from '../crypto/noble-aead.ts'
import { labelBytes } from '../encoding/byte-writer.ts'

/** What stands before the ciphertext of a ratchet message. Double Ratchet §3.1, `HEADER`. */
export interface RatchetHeader {
  /** The sender's current ratchet key. */
  readonly ratchetKey: Uint8Array
  /** PN: how many messages the sender's previous chain held. */
  readonly previousCount: number
  /** N: this message's number in the sender's current chain. */
  readonly count: number
}

/** A ratchet message taken apart. The views share the message's memory. */
export interface RatchetMessage {
  readonly header: RatchetHeader
  /** The header as it was sent: authenticated byte for byte. */
  readonly head: Uint8Array
  readonly ciphertext: Uint8Array
}

/**
 * The choices that the double ratchet leaves open (§7.2): labels, AEAD and encoding. With another profile the same
 * ratchet speaks another protocol.
 */
export interface RatchetProfile {
  readonly name: string
  /** `info` of the root key derivation. */
  readonly rootLabel: Uint8Array
  encodeHeader(header: RatchetHeader): Uint8Array
  /** Undefined for anything that no honest sender writes. */
  parse(message: Uint8Array): RatchetMessage | undefined
  /** `messageKey` is used for this one message, so the nonce may be constant (§3.1). */
  seal(crypto: CryptoProvider, messageKey: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
  open(
    crypto: CryptoProvider,
    messageKey: Uint8Array,
    associatedData: Uint8Array,
    ciphertext: Uint8Array
  ): Uint8Array | undefined
}

const HEADER_BYTES = KEY_BYTES + 8
const ZERO_NONCE = new Uint8Array(12)

/** Suite 1: ChaCha20-Poly1305 under the message key, a fixed header of ratchet key, PN and N. */
export const suiteOneProfile: RatchetProfile = {
  name: 'enablement-1',
  rootLabel: labelBytes('Enablement ratchet root v1\0'),

  encodeHeader({ ratchetKey, previousCount, count }) {
    const head = new Uint8Array(HEADER_BYTES)
    const view = new DataView(head.buffer)
    head.set(ratchetKey)
    view.setUint32(KEY_BYTES, previousCount)
    view.setUint32(KEY_BYTES + 4, count)
    return head
  },

  parse(message) {
    if (message.length < HEADER_BYTES + TAG_BYTES) return undefined
    const ratchetKey = message.subarray(0, KEY_BYTES)
    // An alias of a known key would pass for a new one and ask for a DH step.
    if (!isCanonical(ratchetKey)) return undefined
    const view = new DataView(message.buffer, message.byteOffset)
    return {
      header: { ratchetKey, previousCount: view.getUint32(KEY_BYTES), count: view.getUint32(KEY_BYTES + 4) },
      head: message.subarray(0, HEADER_BYTES),
      ciphertext: message.subarray(HEADER_BYTES)
    }
  },

  seal: (crypto, messageKey, associatedData, plaintext) =>
    crypto.seal(messageKey, ZERO_NONCE, associatedData, plaintext),
  open: (crypto, messageKey, associatedData, ciphertext) =>
    crypto.open(messageKey, ZERO_NONCE, associatedData, ciphertext)
}
