import { canonicalJson, type JsonObject } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** Begins every preimage, so that no hash of another kind can pass for one of these. The NUL ends it. */
const DOMAIN = '@enablement/oversight/arguments/1\0'

/**
 * SHA-256, in hex, over the canonical JSON of what would be done: the action's name and the detail. Every vote and the
 * execution are bound to it, so that nobody approves one thing and has another carried out.
 */
export function argumentHash(action: string, detail: JsonObject): string {
  return bytesToHex(sha256(utf8ToBytes(DOMAIN + canonicalJson({ action, detail }))))
}
