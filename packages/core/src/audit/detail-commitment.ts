import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, randomBytes, utf8ToBytes } from '@noble/hashes/utils.js'

/**
 * The bytes of a salt. It makes guessing an erased detail from its commitment as hard as guessing the salt, however few
 * details there could be ("approved", "denied").
 */
export const SALT_BYTES = 32

/**
 * Keeps commitments apart from every other hash here. A salt of fixed length follows, so that no two inputs run together:
 * whoever verifies holds it to that length, or a detail could hide at the end of its salt.
 */
const DOMAIN = utf8ToBytes('@enablement/audit/detail/1\0')

/** Salts are drawn so many at a time, since asking the operating system costs as much as a hash. */
const DRAWN = 64
let drawn = new Uint8Array(0)
let used = 0

/**
 * A new salt. From the operating system, whatever platform the log was given: a salt that a seed foretells would let
 * anybody with the seed guess what was erased.
 */
export function newSalt(): Uint8Array {
  if (used === drawn.length) {
    drawn = randomBytes(DRAWN * SALT_BYTES)
    used = 0
  }
  const salt = drawn.slice(used, used + SALT_BYTES)
  // What is left here must not tell a salt that is erased elsewhere.
  drawn.fill(0, used, used + SALT_BYTES)
  used += SALT_BYTES
  return salt
}

const utf8 = new TextEncoder()

/**
 * What an entry holds in the place of its detail: SHA-256 over domain, salt and canonical JSON, in hex. Binding, because
 * finding another pair is finding a collision, and once the salt is erased it says nothing of the detail.
 */
export function commitmentTo(detail: string, salt: Uint8Array): string {
  return bytesToHex(sha256.create().update(DOMAIN).update(salt).update(utf8.encode(detail)).digest())
}
