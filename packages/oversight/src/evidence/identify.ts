import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'

const utf8 = new TextEncoder()

/** The first 128 bits of a hash, in hex: distinct for distinct parts, and fit for a channel's own idempotency key. */
export function identify(...parts: readonly (string | number)[]): string {
  return bytesToHex(sha256(utf8.encode(JSON.stringify(parts)))).slice(0, 32)
}
