import type { JsonValue } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** What a call was made with, as SHA-256 in hex: a key that comes with another one is a conflict. */
export function fingerprint(...parts: readonly JsonValue[]): string {
  return bytesToHex(sha256(utf8ToBytes(JSON.stringify(parts))))
}
