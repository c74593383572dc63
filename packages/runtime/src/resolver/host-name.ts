import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { RuntimeError } from '../runtime-error.ts'

/** A name to look up, or an address that needs no looking up. */
export type HostName =
  | { readonly kind: 'address'; readonly address: string; readonly family: 4 | 6 }
  | { readonly kind: 'name'; readonly name: string }

/** RFC 1035 §2.3.4: 255 octets on the wire, which is 253 characters without the root's dot. */
const NAME_CHARACTERS_MAX = 253
/** Input longer than any name in Unicode could be is refused before it is converted. */
const INPUT_CHARACTERS_MAX = 1_024

/** Letters, digits, hyphens, and the underscore that service names have. RFC 1035 §2.3.1, RFC 2181 §11. */
const label = /^[a-z0-9_-]{1,63}$/

/** What URL parsers and `getaddrinfo` take for an IPv4 address: `1.2.3`, `0x7f.1`. No top-level domain looks like it. */
const numericEnd = /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/

/** What `domainToASCII` would cut off, decode or take for a port before it looks at the name. */
const notInNames = /[\p{Cc} %#/:<>?@[\\\]^|]/u

/**
 * The one form of a host name: lower case, international labels as `xn--`, without the root's dot. Addresses pass, in
 * brackets too, as they stand in a URL. Throws `NAME_INVALID` for anything else, numbers that only look like addresses
 * among them: they would reach 127.0.0.1 behind the back of whoever checked the name.
 */
export function parseHostName(input: unknown): HostName {
  if (typeof input !== 'string' || input === '') throw invalid('no name was given')
  if (input.length > INPUT_CHARACTERS_MAX) throw invalid(`${input.length} characters are too many`)
  const bare = input.startsWith('[') && input.endsWith(']') ? input.slice(1, -1) : input
  const family = isIP(bare)
  if (family === 4 || family === 6) return { kind: 'address', address: bare, family }
  if (notInNames.test(input)) throw invalid('it has a character that no host name has')
  const ascii = /^[a-z0-9._-]+$/.test(input) && !input.includes('xn--') ? input : domainToASCII(input)
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii
  if (name.length > NAME_CHARACTERS_MAX) throw invalid(`${name.length} characters are too many`)
  if (!name.split('.').every((part) => label.test(part))) throw invalid('a label is empty, too long or malformed')
  if (numericEnd.test(name)) throw invalid('it looks like an address and is none')
  return { kind: 'name', name }
}

/** RFC 6761 §6.3: names under `localhost` are this machine, and are never asked about. */
export const isLocalhost = (name: string): boolean => name === 'localhost' || name.endsWith('.localhost')

function invalid(reason: string): RuntimeError<'NAME_INVALID'> {
  return new RuntimeError('NAME_INVALID', `not a host name: ${reason}`, { reason })
}
