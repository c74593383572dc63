import { type IpAddress, type IpBlock, isWithin, parseIp, parseIpBlock } from './ip-address.ts'

/** What an address is for. Only what is `public` is anybody's on the internet. */
export type AddressClass =
  | 'public'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'link-local'
  | 'carrier-grade-nat'
  /** Where clouds tell machines who they are, with credentials. */
  | 'metadata'
  | 'multicast'
  | 'benchmarking'
  | 'documentation'
  /** Carries an IPv4 address inside, which a gateway would turn into any, private ones included. */
  | 'translated'
  | 'reserved'
  | 'malformed'

/**
 * IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates) and multicast; the first that fits
 * counts. Blocks that IANA calls reachable, but which are no servers' (relays, sinks), are refused with the others.
 */
const SPECIAL: readonly (readonly [AddressClass, readonly string[]])[] = [
  // Azure's is a public address; Amazon's, Oracle's and Alibaba's are in blocks below, named here for what they are.
  [
    'metadata',
    [
      '169.254.169.254/32',
      '169.254.170.2/32',
      '168.63.129.16/32',
      '192.0.0.192/32',
      '100.100.100.200/32',
      'fd00:ec2::254/128'
    ]
  ],
  ['unspecified', ['0.0.0.0/8', '::/128']],
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10']],
  ['link-local', ['169.254.0.0/16', 'fe80::/10']],
  ['carrier-grade-nat', ['100.64.0.0/10']],
  ['multicast', ['224.0.0.0/4', 'ff00::/8']],
  ['benchmarking', ['198.18.0.0/15', '2001:2::/48']],
  ['documentation', ['192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32', '3fff::/20']],
  // IPv4-compatible and IPv4-mapped, NAT64 (RFC 6052, 8215), Teredo, 6to4 and its relays.
  [
    'translated',
    ['::/96', '::ffff:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48', '2001::/32', '2002::/16', '192.88.99.0/24']
  ],
  [
    'reserved',
    [
      '192.0.0.0/24', // IETF protocol assignments
      '192.31.196.0/24', // AS112
      '192.52.193.0/24', // AMT
      '192.175.48.0/24', // AS112
      '240.0.0.0/4', // and limited broadcast
      '2001::/23', // IETF protocol assignments: ORCHID, DRIP, AMT, AS112
      '2620:4f:8000::/48' // AS112
    ]
  ]
]

const blocks: readonly (readonly [AddressClass, IpBlock])[] = SPECIAL.flatMap(([kind, texts]) =>
  texts.map((text) => [kind, parseIpBlock(text) as IpBlock] as const)
)

/** Where all of IPv6's global unicast addresses are (RFC 4291 §2.4); what is outside and not listed is nobody's yet. */
const GLOBAL_UNICAST = parseIpBlock('2000::/3') as IpBlock

/** What an address in its usual spelling is for; see `parseIp`. */
export function classifyAddress(text: string): AddressClass {
  const address = parseIp(text)
  return address === undefined ? 'malformed' : classOf(address)
}

function classOf(address: IpAddress): AddressClass {
  const special = blocks.find(([, block]) => isWithin(address, block))
  if (special !== undefined) return special[0]
  return address.family === 4 || isWithin(address, GLOBAL_UNICAST) ? 'public' : 'reserved'
}
