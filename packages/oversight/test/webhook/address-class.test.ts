import { classifyAddress } from '@enablement/oversight/webhook'
import { describe, expect, it } from 'vitest'

/** First and last address of each block of IANA's registries, with the class that it is refused for. */
const blocks: readonly (readonly [string, string, string])[] = [
  ['0.0.0.0', '0.255.255.255', 'unspecified'],
  ['10.0.0.0', '10.255.255.255', 'private'],
  ['100.64.0.0', '100.127.255.255', 'carrier-grade-nat'],
  ['127.0.0.0', '127.255.255.255', 'loopback'],
  ['169.254.0.0', '169.254.255.255', 'link-local'],
  ['172.16.0.0', '172.31.255.255', 'private'],
  ['192.0.0.0', '192.0.0.255', 'reserved'],
  ['192.0.2.0', '192.0.2.255', 'documentation'],
  ['192.31.196.0', '192.31.196.255', 'reserved'],
  ['192.52.193.0', '192.52.193.255', 'reserved'],
  ['192.88.99.0', '192.88.99.255', 'translated'],
  ['192.168.0.0', '192.168.255.255', 'private'],
  ['192.175.48.0', '192.175.48.255', 'reserved'],
  ['198.18.0.0', '198.19.255.255', 'benchmarking'],
  ['198.51.100.0', '198.51.100.255', 'documentation'],
  ['203.0.113.0', '203.0.113.255', 'documentation'],
  ['224.0.0.0', '239.255.255.255', 'multicast'],
  ['240.0.0.0', '255.255.255.255', 'reserved'],
  ['::', '::', 'unspecified'],
  ['::1', '::1', 'loopback'],
  ['::2', '::255.255.255.255', 'translated'],
  ['::ffff:0.0.0.0', '::ffff:255.255.255.255', 'translated'],
  ['::ffff:7f00:1', '0:0:0:0:0:ffff:127.0.0.1', 'translated'],
  ['64:ff9b::', '64:ff9b::ffff:ffff', 'translated'],
  ['64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff', 'translated'],
  ['100::', '100::ffff:ffff:ffff:ffff', 'reserved'],
  ['2001::', '2001:0:ffff:ffff:ffff:ffff:ffff:ffff', 'translated'],
  ['2001:1::', '2001:1:ffff::', 'reserved'],
  ['2001:2::', '2001:2:0:ffff:ffff:ffff:ffff:ffff', 'benchmarking'],
  ['2001:3::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', 'reserved'],
  ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 'documentation'],
  ['2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'translated'],
  ['2620:4f:8000::', '2620:4f:8000:ffff:ffff:ffff:ffff:ffff', 'reserved'],
  ['3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', 'documentation'],
  ['4000::', '5f00::ffff', 'reserved'],
  ['fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'private'],
  ['fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'link-local'],
  ['fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'private'],
  ['ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'multicast']
]

/** The neighbours on either side of the blocks above. */
const neighbours =
  '1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 ' +
  '172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0 192.31.195.255 192.31.197.0 192.88.98.255 ' +
  '192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 ' +
  '203.0.114.0 223.255.255.255 8.8.8.8 2000:: 2001:200:: 2001:db7:ffff:: 2001:db9:: 2003:: 2606:4700::1111 ' +
  '2620:4f:7fff:: 2620:4f:8001:: 3fff:1000::'

describe('an address', () => {
  it.each(blocks)('from %s to %s is refused as %s', (first, last, kind) => {
    expect([classifyAddress(first), classifyAddress(last)]).toEqual([kind, kind])
  })

  it.each(neighbours.split(' '))('%s is public', (address) => {
    expect(classifyAddress(address)).toBe('public')
  })

  it.each([
    ['169.254.169.254', 'of Amazon, Azure, Google'],
    ['169.254.170.2', 'of Amazon ECS'],
    ['fd00:ec2::254', 'of Amazon over IPv6'],
    ['168.63.129.16', 'of Azure, which is a public address'],
    ['100.100.100.200', 'of Alibaba'],
    ['192.0.0.192', 'of Oracle']
  ])('%s is where metadata is had %s', (address) => {
    expect(classifyAddress(address)).toBe('metadata')
  })

  it.each([
    '',
    ' ',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.04',
    '0x7f.0.0.1',
    '0x7f000001',
    '2130706433',
    '127.1',
    '1.2.3.4 ',
    '1.2.3.-4',
    '１.2.3.4',
    '1.2.3.4/8',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    'g::',
    '[::1]',
    'fe80::1%eth0',
    '::ffff:1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:1',
    '-1::',
    'localhost'
  ])('%j is malformed, whatever others read in it', (text) => {
    expect(classifyAddress(text)).toBe('malformed')
  })
})
