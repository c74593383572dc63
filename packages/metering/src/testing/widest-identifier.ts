import { IDENTIFIER_LENGTH_MAX } from '../event/identifier.ts'

/** The largest identifier there is: every character takes three bytes, and their order does not compress. */
export function widestIdentifier(seed: number): string {
  const codes = Array.from({ length: IDENTIFIER_LENGTH_MAX }, (_, at) => 0x4e00 + ((at * at * seed) % 20_000))
  return String.fromCharCode(...codes)
}
