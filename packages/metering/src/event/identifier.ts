import { utf8ToBytes } from '@noble/hashes/utils.js'

/** Characters (UTF-16 units) of an identifier. */
export const IDENTIFIER_LENGTH_MAX = 255

/**
 * Bytes of an identifier as UTF-8, which 160 characters of any script have at most. With a word before it, such as
 * `subscription:`, it is a name that core's audit log takes (512 bytes); and three of them are a ledger's key, within the
 * 2,704 bytes that a Postgres index row holds.
 */
export const IDENTIFIER_BYTES_MAX = 480

/** Bytes of UTF-8 that a UTF-16 unit takes at most. */
const BYTES_PER_UNIT = 3

/**
 * What an identifier may be: not blank, and without control characters (Postgres has no NUL, terminals obey the rest)
 * and lone surrogates (which have no UTF-8).
 */
export const IDENTIFIER_PATTERN: RegExp = /^(?=.*\S)[^\p{Cc}\p{Cs}]+$/u

/** Anything but printable ASCII without the space. */
const UNUSUAL = /[^!-~]/

/** Up to here a loop is faster than an expression. */
const SHORT_LENGTH = 12

/** Whether `value` is an identifier. Printable ASCII, which nearly all are, is decided without the pattern. */
export function isIdentifier(value: unknown): value is string {
  if (typeof value !== 'string') return false
  const { length } = value
  if (length === 0 || length > IDENTIFIER_LENGTH_MAX) return false
  if (length > SHORT_LENGTH) return !UNUSUAL.test(value) || (IDENTIFIER_PATTERN.test(value) && fitsInBytes(value))
  for (let at = 0; at < length; at++) {
    const unit = value.charCodeAt(at)
    if (unit < 0x21 || unit > 0x7e) return IDENTIFIER_PATTERN.test(value)
  }
  return true
}

/**
 * A field of events that holds an identifier, such as the tenant. Remembers the one found good last: events that come
 * together share theirs, and two references to one string are equal at a glance, where each character costs a nanosecond.
 */
export class IdentifierField {
  #good = '-'

  /** As `isIdentifier`. */
  accepts(value: unknown): value is string {
    if (value === this.#good) return true
    if (!isIdentifier(value)) return false
    this.#good = value
    return true
  }
}

/** Whether so many characters of any kind have no more bytes than an identifier may. */
export function fitsInBytes(value: string): boolean {
  return value.length * BYTES_PER_UNIT <= IDENTIFIER_BYTES_MAX || utf8ToBytes(value).length <= IDENTIFIER_BYTES_MAX
}
