import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { isIdentifier } from '../event/identifier.ts'

/**
 * Names a quota within its tenant, for idempotency keys and holds: the limits in alphabetical order, for they are one
 * quota in whichever order they are given, and the path. An identifier: where it would be too long it is hashed.
 */
export function scopeOf(limits: readonly string[], path: readonly string[]): string {
  const name = JSON.stringify([limits.toSorted(), path])
  if (isIdentifier(name)) return name
  return bytesToHex(sha256(new TextEncoder().encode(name)))
}
