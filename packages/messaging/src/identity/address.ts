/** Characters of an address and of a key: longer than any name, and short enough for every index and transcript. */
const NAME_LENGTH_MAX = 255

/**
 * What keeps a value from being an address or an idempotency key; undefined when nothing does. Addresses are bound into
 * transcripts as UTF-8, where a lone surrogate would pass for another character, and Postgres stores no NUL.
 */
export function findNameFault(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'must be a string'
  if (value.length === 0 || value.length > NAME_LENGTH_MAX) {
    return `has ${value.length} characters, not 1 to ${NAME_LENGTH_MAX}`
  }
  if (!value.isWellFormed() || value.includes('\0')) return 'must be well-formed Unicode without NUL'
  return undefined
}
