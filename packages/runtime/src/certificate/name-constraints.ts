import { isIP, isIPv4 } from 'node:net'
import type { CertificateFacts, GeneralName } from './certificate-facts.ts'

/** Numbers of the kinds that are compared, RFC 5280 §4.2.1.6. */
const DNS_NAME = 2
const DIRECTORY_NAME = 4
const IP_ADDRESS = 7

/**
 * Why an authority's name constraints (RFC 5280 §4.2.1.10) forbid a leaf for `host`, or undefined. Host names and addresses
 * are compared; a constraint of another kind forbids what has names of that kind, and one on directory names, which every
 * leaf has as its subject, forbids all.
 */
export function forbiddenByConstraints(
  { constraints }: CertificateFacts,
  leaf: CertificateFacts,
  host: string
): string | undefined {
  if (constraints === undefined) return undefined
  const names = [...leaf.names, asName(host)]
  for (const { kind, bytes } of names) {
    const permitted = constraints.permitted.filter((base) => base.kind === kind)
    const excluded = constraints.excluded.filter((base) => base.kind === kind)
    if (permitted.length + excluded.length === 0) continue
    const covers = kind === DNS_NAME ? coversName : kind === IP_ADDRESS ? coversAddress : undefined
    if (covers === undefined) return `an authority above the leaf constrains names of kind ${kind}`
    const isPermitted = permitted.length === 0 || permitted.some((base) => covers(base.bytes, bytes))
    if (!isPermitted || excluded.some((base) => covers(base.bytes, bytes))) {
      return 'an authority above the leaf may not vouch for one of its names'
    }
  }
  if ([...constraints.permitted, ...constraints.excluded].some(({ kind }) => kind === DIRECTORY_NAME)) {
    return 'an authority above the leaf constrains directory names'
  }
  return undefined
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1').toLowerCase()

function coversName(base: Uint8Array, name: Uint8Array): boolean {
  const ending = text(base)
  // The asterisk of a wildcard stands for a label; the host itself is compared too.
  const host = text(name).replace(/^\*\./, '')
  if (ending === '') return true
  return ending.startsWith('.') ? host.endsWith(ending) : host === ending || host.endsWith(`.${ending}`)
}

/** A base is an address and a mask of the same length. */
const coversAddress = (base: Uint8Array, address: Uint8Array): boolean =>
  base.length === address.length * 2 &&
  address.every((octet, i) => {
    const mask = base[address.length + i] ?? 0
    return (octet & mask) === ((base[i] ?? 0) & mask)
  })

function asName(host: string): GeneralName {
  if (isIP(host) === 0) return { kind: DNS_NAME, bytes: Buffer.from(host, 'latin1') }
  return { kind: IP_ADDRESS, bytes: isIPv4(host) ? Buffer.from(host.split('.').map(Number)) : ipv6Octets(host) }
}

function ipv6Octets(address: string): Uint8Array {
  // The URL parser writes IPv4 endings as two groups.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (part: string): readonly string[] => (part === '' ? [] : part.split(':'))
  const before = groups(head)
  const after = groups(tail ?? '')
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex')
}
