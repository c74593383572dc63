import { BlockList, isIP } from 'node:net'

/** Addresses that are not the public internet: IANA's special-purpose registries (RFC 6890 and its successors). */
const SPECIAL_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4'
]
/** Those that carry an IPv4 address inside are refused whole: where they lead is the translator's business. */
const SPECIAL_V6 = [
  '::/96',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8'
]

const blockList = (ranges: readonly string[], family: 'ipv4' | 'ipv6'): BlockList => {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    list.addSubnet(address, Number(bits), family)
  }
  return list
}

/** One for each family: Node holds an IPv4 address against IPv6 ranges too, and `::ffff:0:0/96` has all of them. */
const specialV4 = blockList(SPECIAL_V4, 'ipv4')
const specialV6 = blockList(SPECIAL_V6, 'ipv6')

/** Whether an address leads anywhere but to the public internet. What is no address does. */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return specialV4.check(address, 'ipv4')
  return family === 0 || specialV6.check(address, 'ipv6')
}
