import { chacha20poly1305 } from '@noble/ciphers/chacha.js'

/** ChaCha20-Poly1305 in JavaScript, which beats Node's own below 2 KiB: no call crosses into native code. */
export const nobleAead = {
  seal(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return chacha20poly1305(key, nonce, associatedData).encrypt(plaintext)
  },
  open(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    try {
      return chacha20poly1305(key, nonce, associatedData).decrypt(sealed)
    } catch {
      return undefined
    }
  }
}

/** Bytes of a ChaCha20-Poly1305 tag. */
export const TAG_BYTES = 16
