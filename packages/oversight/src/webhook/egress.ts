import { z } from 'zod'
import { type AddressClass, classifyAddress } from './address-class.ts'
import { type IpBlock, isWithin, parseIp, parseIpBlock } from './ip-address.ts'

/** What is reached although the guard would refuse it. Nothing unless given. */
export interface EgressAllowance {
  /** `http:` as well. What it carries can be read and changed on its way; the signature shows a change. */
  readonly plainHttp?: boolean
  /** Ports besides 443, and 80 with `plainHttp`. */
  readonly ports?: readonly number[]
  /** Blocks of addresses that are not public, such as `10.20.0.0/16`. */
  readonly addresses?: readonly string[]
  /** Names that no public resolver would know, such as `hooks.internal`. Their addresses must be allowed besides. */
  readonly hosts?: readonly string[]
}

/** Why a URL or an address that its name resolves to is not called. */
export type EgressRefusal =
  | Exclude<AddressClass, 'public' | 'malformed'>
  | 'malformed-url'
  | 'malformed-address'
  | 'scheme'
  | 'credentials'
  | 'port'
  /** The host is spelt so that parsers disagree about it: a number, octal, hex, full-width digits, a backslash. */
  | 'ambiguous-host'
  /** `localhost`, a name without a dot, or under a name that is reserved for private use. */
  | 'local-name'
  /** The name has no address. */
  | 'unresolved'

/** Decides which URLs and addresses are called. */
export interface EgressGuard {
  url(
    text: string
  ):
    | { readonly outcome: 'allowed'; readonly url: URL }
    | { readonly outcome: 'refused'; readonly because: EgressRefusal }
  /** Why an address is not connected to, or undefined. */
  address(text: string): EgressRefusal | undefined
}

/** As long as browsers and proxies commonly take. */
const URL_LENGTH_MAX = 2_048

/** Scheme, authority and the rest, as they were typed: nothing that URL parsers strip, fold or turn around. */
const PLAIN_URL = /^(https?):\/\/([^\s/?#\\@%]+)(?:[/?#][^\s\\]*)?$/i

/** Special-use names (RFC 6761 and its registry) and ICANN's `internal`: what resolves there is inside. */
const LOCAL_NAME = /(?:^|\.)(?:localhost|local|internal|home\.arpa|test|invalid|example|onion|alt)$/

export const egressAllowanceSchema: z.ZodType<EgressAllowance> = z.strictObject({
  plainHttp: z.boolean().exactOptional(),
  ports: z.array(z.int().min(1).max(65_535)).max(100).exactOptional(),
  addresses: z
    .array(z.string().refine((text) => parseIpBlock(text) !== undefined, 'must be a block such as 10.20.0.0/16'))
    .max(100)
    .exactOptional(),
  hosts: z.array(z.string().min(1).max(253)).max(100).exactOptional()
})

/** A guard that refuses everything but the public internet over TLS, and what is allowed besides. */
export function egressGuard(allow: EgressAllowance = {}): EgressGuard {
  const { plainHttp = false, ports = [], addresses = [], hosts = [] } = allow
  const blocks = addresses.map((text) => parseIpBlock(text) as IpBlock)
  const names = new Set(hosts.map((host) => host.toLowerCase()))
  const portsOf: Readonly<Record<string, ReadonlySet<number>>> = {
    'https:': new Set([443, ...ports]),
    'http:': new Set([80, ...ports])
  }

  const addressRefusal = (text: string): EgressRefusal | undefined => {
    const address = parseIp(text)
    if (address === undefined) return 'malformed-address'
    const kind = classifyAddress(text)
    if (kind === 'public' || blocks.some((block) => isWithin(address, block))) return undefined
    return kind === 'malformed' ? 'malformed-address' : kind
  }

  const hostRefusal = (host: string): EgressRefusal | undefined => {
    if (host.startsWith('[')) return addressRefusal(host.slice(1, -1))
    if (parseIp(host) !== undefined) return addressRefusal(host)
    const name = host.replace(/\.$/, '')
    if (names.has(name)) return undefined
    return !name.includes('.') || LOCAL_NAME.test(name) ? 'local-name' : undefined
  }

  const urlRefusal = (text: string, url: URL): EgressRefusal | undefined => {
    if (url.protocol !== 'https:' && !(plainHttp && url.protocol === 'http:')) return 'scheme'
    if (url.username !== '' || url.password !== '' || text.split(/[/?#]/)[2]?.includes('@') === true)
      return 'credentials'
    // What was typed must be what the parser made of it, or else it is spelt for another parser than this one.
    const authority = PLAIN_URL.exec(text)?.[2]?.toLowerCase()
    const host = authority?.replace(/:\d*$/, '')
    if (host === undefined || host !== url.hostname) return 'ambiguous-host'
    const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
    if (portsOf[url.protocol]?.has(port) !== true) return 'port'
    return hostRefusal(url.hostname)
  }

  return {
    url(text) {
      const url = text.length > URL_LENGTH_MAX ? null : URL.parse(text)
      if (url === null) return { outcome: 'refused', because: 'malformed-url' }
      const because = urlRefusal(text, url)
      return because === undefined ? { outcome: 'allowed', url } : { outcome: 'refused', because }
    },
    address: addressRefusal
  }
}
