import { IDENTIFIER_BYTES_MAX } from '../event/identifier.ts'

/**
 * The largest identifier there is that begins with `prefix`, which is ASCII: every other character takes three bytes, and
 * their order does not compress.
 */
export function widestIdentifier(seed: number, prefix = ''): string {
  const length = Math.floor((IDENTIFIER_BYTES_MAX - prefix.length) / 3)
  const codes = Array.from({ length }, (_, at) => 0x4e00 + ((at * at * seed) % 20_000))
  return prefix + String.fromCharCode(...codes)
}
