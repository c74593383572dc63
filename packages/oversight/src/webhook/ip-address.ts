/** An address as a number, so that blocks of addresses are compared and not their spellings. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

/** Addresses with the same first bits, such as `10.0.0.0/8`. */
export interface IpBlock extends IpAddress {
  readonly prefixBits: number
}

const V4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/
const V6_GROUP = /^[0-9a-f]{1,4}$/i

/**
 * Reads an address in its usual spelling: four decimal numbers, or RFC 4291 §2.2. Undefined for everything else, also
 * for what resolvers and libraries disagree on: octal, hex and short IPv4, zones (`fe80::1%eth0`), brackets.
 */
export function parseIp(text: string): IpAddress | undefined {
  const value = text.includes(':') ? v6Value(text) : v4Value(text)
  return value === undefined ? undefined : { family: text.includes(':') ? 6 : 4, value }
}

/** Reads a block in CIDR notation; undefined when it is none, or when bits beyond its prefix are set. */
export function parseIpBlock(text: string): IpBlock | undefined {
  const [, address, bits] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? []
  const first = address === undefined ? undefined : parseIp(address)
  const prefixBits = Number(bits)
  if (first === undefined || prefixBits > width(first)) return undefined
  const restBits = BigInt(width(first) - prefixBits)
  return (first.value >> restBits) << restBits === first.value ? { ...first, prefixBits } : undefined
}

export function isWithin(address: IpAddress, block: IpBlock): boolean {
  if (address.family !== block.family) return false
  const restBits = BigInt(width(block) - block.prefixBits)
  return address.value >> restBits === block.value >> restBits
}

const width = ({ family }: IpAddress): number => (family === 4 ? 32 : 128)

function v4Value(text: string): bigint | undefined {
  const octets = V4.exec(text)?.slice(1)
  // A leading zero means octal to some and nothing to others.
  if (octets?.every((octet) => Number(octet) <= 255 && (octet === '0' || !octet.startsWith('0'))) !== true)
    return undefined
  return octets.reduce((value, octet) => value * 256n + BigInt(octet), 0n)
}

function v6Value(text: string): bigint | undefined {
  const [head = '', tail, ...more] = text.split('::')
  if (more.length > 0) return undefined
  const before = groupsOf(head, tail === undefined)
  const after = tail === undefined ? [] : groupsOf(tail, true)
  if (before === undefined || after === undefined) return undefined
  const missing = 8 - before.length - after.length
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined
  const zeros = Array.from({ length: missing }, () => 0n)
  return [...before, ...zeros, ...after].reduce((value, group) => value * 65_536n + group, 0n)
}

/** Groups of 16 bits; the last two may be spelt as an IPv4 address where the address ends. */
function groupsOf(text: string, isEnd: boolean): bigint[] | undefined {
  if (text === '') return []
  const parts = text.split(':')
  const groups: bigint[] = []
  for (const [at, part] of parts.entries()) {
    const embedded = isEnd && at === parts.length - 1 ? v4Value(part) : undefined
    if (embedded !== undefined) groups.push(embedded >> 16n, embedded & 0xffffn)
    else if (V6_GROUP.test(part)) groups.push(BigInt(`0x${part}`))
    else return undefined
  }
  return groups
}
