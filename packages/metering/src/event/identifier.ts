/**
 * Characters (UTF-16 units) of an identifier. Three of them make a ledger's key: at most 2,295 bytes of UTF-8, within
 * the 2,704 that a Postgres index row holds.
 */
export const IDENTIFIER_LENGTH_MAX = 255

/**
 * What an identifier may be: not blank, and without control characters (Postgres has no NUL, terminals obey the rest)
 * and lone surrogates (which have no UTF-8).
 */
export const IDENTIFIER_PATTERN: RegExp = /^(?=.*\S)[^\p{Cc}\p{Cs}]+$/u

/** Whether `value` is an identifier. Printable ASCII, which nearly all are, is decided without the pattern. */
export function isIdentifier(value: unknown): value is string {
  if (typeof value !== 'string') return false
  const { length } = value
  if (length === 0 || length > IDENTIFIER_LENGTH_MAX) return false
  for (let at = 0; at < length; at++) {
    const unit = value.charCodeAt(at)
    if (unit < 0x21 || unit > 0x7e) return IDENTIFIER_PATTERN.test(value)
  }
  return true
}
