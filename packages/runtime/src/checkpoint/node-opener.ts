import { createDecipheriv, createSecretKey, hkdfSync } from 'node:crypto'
import type { Opener } from './opener.ts'

export type { Opener } from './opener.ts'

const KEY_BYTES = 32
const TAG_BYTES = 16

/**
 * An opener on Node's own ciphers, under the key that HKDF-SHA-256 with an empty salt derives from `master` for `info`.
 * Neither is kept: the derived key lies in OpenSSL's memory.
 */
export function createOpener(master: Uint8Array, info: Uint8Array): Opener | undefined {
  const derived = new Uint8Array(hkdfSync('sha256', master, new Uint8Array(0), info, KEY_BYTES))
  const key = createSecretKey(derived)
  derived.fill(0)
  return {
    open(nonce, authenticated, sealed) {
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(authenticated)
      decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
      const opened = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES))
      // Verifies the tag; what was opened is not handed out before.
      decipher.final()
      return opened
    }
  }
}
