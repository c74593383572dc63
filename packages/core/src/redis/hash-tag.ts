import { CoreError } from '../failure/core-error.ts'

/** Far above any honest key; ids come from outside, and every key stays in Redis's memory. In UTF-16 code units. */
const KEY_LENGTH_MAX = 2_048

/** What separates a key's parts or ends its hash tag, the escape itself, and control characters, NUL among them. */
const RESERVED = /[\p{Cc}%{}:]/gu

/** A name that a package chooses for a kind of key. Free of braces, so that the tag is the first thing in braces. */
const PREFIX = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/

/**
 * A Redis key that lives in the cluster slot of `tag`: `prefix:{tag}:part:part`.
 *
 * `tag` and `parts` may come from outside. What would separate parts or end the tag is percent-encoded, so distinct
 * tuples never share a key and nobody chooses another's slot: `['a:b']` gives `a%3Ab`, which `['a', 'b']` does not.
 * Throws `INVALID_OPTIONS` for an empty tag or part, which is a missing id, for a lone surrogate, which has no UTF-8,
 * for a prefix that is not letters, digits and `._:-`, and for a key longer than 2,048 characters.
 */
export function hashTagged(key: {
  readonly prefix: string
  readonly tag: string
  readonly parts?: readonly string[]
}): string {
  const { prefix, tag, parts = [] } = key
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) throw refused('prefix', 'not letters, digits and ._:-')
  let text = `${prefix}:{${encoded(tag, 'tag')}}`
  for (const [at, part] of parts.entries()) text += `:${encoded(part, `parts.${at}`)}`
  if (text.length > KEY_LENGTH_MAX) throw refused('', `longer than ${KEY_LENGTH_MAX} characters`)
  return text
}

/** The part of a key that Redis Cluster hashes, or undefined where that is the whole key. Cluster specification, "Hash tags". */
export function hashTagOf(key: string): string | undefined {
  const start = key.indexOf('{')
  const end = start === -1 ? -1 : key.indexOf('}', start + 1)
  return end > start + 1 ? key.slice(start + 1, end) : undefined
}

function encoded(text: string, path: string): string {
  if (typeof text !== 'string' || text === '') throw refused(path, 'not a string with at least one character')
  if (!text.isWellFormed()) throw refused(path, 'a string with a lone surrogate')
  return text.replace(RESERVED, (reserved) => `%${reserved.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

function refused(path: string, message: string): CoreError<'INVALID_OPTIONS'> {
  return new CoreError('INVALID_OPTIONS', `no Redis key can be made: ${path}${path === '' ? '' : ': '}${message}`, {
    subject: 'hashTagged',
    issues: [{ path, message }]
  })
}
