import { canonicalJson } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import type { CheckedUsage } from './parse-usage-event.ts'

/**
 * SHA-256 in hex over all of an event but its identity. Two events of one identity with equal hashes are one event sent
 * twice; with different hashes they contradict each other. The time of use belongs to the payload, for it decides the
 * period that is billed: a sender that retries must not stamp the event anew.
 */
export function payloadHash(usage: CheckedUsage): string {
  const { metric, quantity, at, propertiesJson } = usage
  // The properties go in as the text they are, so that the outer text is short to write and still binds them.
  return bytesToHex(sha256(utf8ToBytes(canonicalJson([metric, quantity, at, propertiesJson]))))
}
