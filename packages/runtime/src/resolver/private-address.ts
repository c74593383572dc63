import { BlockList, isIPv4 } from 'node:net'

/** Addresses that only mean something inside a network: IANA's special-purpose registries (RFC 6890), and multicast. */
const inside4 = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3]
] as const) {
  inside4.addSubnet(network, prefix, 'ipv4')
}

/** A list of its own: Node holds an IPv4 address against IPv6 rules too, where all of them are in `::ffff:0:0/96`. */
const inside6 = new BlockList()
for (const [network, prefix] of [
  // Unspecified, loopback, and the deprecated IPv4-compatible form.
  ['::', 96],
  // Mapped IPv4 is never in a AAAA record for a good reason.
  ['::ffff:0:0', 96],
  // Translated (RFC 6052 for private use) and tunnelled IPv4 (6to4, Teredo) carries any address in it.
  ['64:ff9b:1::', 48],
  ['2002::', 16],
  ['2001::', 32],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8]
] as const) {
  inside6.addSubnet(network, prefix, 'ipv6')
}

/** NAT64 (RFC 6052): the last 32 bits are an IPv4 address, which may be private. */
const translated = new BlockList()
translated.addSubnet('64:ff9b::', 96, 'ipv6')

/** Whether an address leads into the caller's own network or machine, or is no destination at all. */
export function isPrivateAddress(address: string): boolean {
  if (isIPv4(address)) return inside4.check(address, 'ipv4')
  if (inside6.check(address, 'ipv6')) return true
  if (!translated.check(address, 'ipv6')) return false
  // The URL parser writes every address in one form: hexadecimal groups, the longest run of zeros cut.
  const groups = new URL(`http://[${address}]`).hostname.slice(1, -1).split(':')
  const [high = '0', low = '0'] = groups.slice(-2)
  const word = (Number.parseInt(high || '0', 16) << 16) | Number.parseInt(low || '0', 16)
  return inside4.check([24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.'), 'ipv4')
}

/** Endings under which names belong to a network of one's own: RFC 6762, RFC 8375, ICANN's `internal`. */
const localEndings = ['local', 'internal', 'home.arpa', 'localhost', 'lan', 'intranet', 'corp', 'home', 'test']

/** Whether a name is one that the public DNS may answer for; those of a network of one's own may have private addresses. */
export function isPublicName(name: string, privateNames: readonly string[]): boolean {
  if (!name.includes('.')) return false
  return ![...localEndings, ...privateNames].some((ending) => name === ending || name.endsWith(`.${ending}`))
}
