import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/**
 * Begins every preimage, so that no hash of this log can pass for one of another kind or of a later format. It ends in
 * NUL and a hash of fixed length follows, so no two different inputs have one preimage.
 */
const DOMAIN = '@enablement/audit/1\0'

/** What the first entry of every log has for a predecessor's hash. */
export const GENESIS = '0'.repeat(64)

/** SHA-256 over domain, the predecessor's hash in hex, and the entry's stored text byte for byte; in hex. */
export function chainHash(previous: string, entry: string): string {
  return bytesToHex(sha256(utf8ToBytes(DOMAIN + previous + entry)))
}
