import { testPlatform } from '@enablement/core/testing'
import { createResolver, type Resolution, type ResolverEvent, type ResolverOptions } from '@enablement/runtime/network'
import { describe, expect, it } from 'vitest'
import {
  a,
  aaaa,
  alias,
  always,
  type FakeNameServer,
  failing,
  fakeNameServer,
  type Respond,
  rcode,
  reply,
  silent
} from '../fakes/fake-name-server.ts'

const NAME = 'api.example.com'

/** A resolver on a virtual clock, and what it told. */
function stage(options: ResolverOptions) {
  const platform = testPlatform()
  const events: ResolverEvent[] = []
  const resolver = createResolver({ platform, observe: (event) => void events.push(event), ...options })
  return { platform, clock: platform.clock, events, resolver, told: () => events.map(({ type }) => type) }
}

const plain = ({ source, addresses }: Resolution): string =>
  `${source} ${addresses.map(({ address }) => address).join(' ')}`
const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no failure',
    (error: { code: string; cause?: { code?: string } }) => `${error.code} ${error.cause?.code ?? ''}`.trim()
  )

/** Moves the clock on until the promise settles: for look-ups that wait for servers that are silent. */
async function onceSettled<T>(clock: { advance(ms: number): Promise<void> }, promise: Promise<T>): Promise<T> {
  let settled = false
  const watched = promise.finally(() => {
    settled = true
  })
  watched.catch(() => {})
  while (!settled) await clock.advance(50)
  return await watched
}

describe('a resolver', () => {
  it('asks the primary over UDP, for both families, and remembers the answer for its time to live', async () => {
    await using primary = await fakeNameServer((asked) =>
      reply(asked, asked.type === 'A' ? [a(NAME, '192.0.2.1', 60)] : [aaaa(NAME, '2001:db8::1', 30)])
    )
    const { resolver, clock } = stage({ primary: [primary.address] })
    expect(await resolver.resolve(NAME)).toEqual({
      name: NAME,
      addresses: [
        { address: '192.0.2.1', family: 4 },
        { address: '2001:db8::1', family: 6 }
      ],
      source: 'asked',
      ttlMs: 30_000
    })
    await clock.advance(29_999)
    expect(await resolver.resolve(NAME)).toMatchObject({ source: 'cache', ttlMs: 1 })
    expect(primary.asked).toHaveLength(2)
    await clock.advance(1)
    expect((await resolver.resolve(NAME)).source).toBe('asked')
    expect(clock.pendingTimers).toBe(0)
    await resolver.close()
  })

  it.each([
    ['0 s, to be used once', 0, 0],
    ['1 s', 1, 1_000],
    ['longer than the bound', 100_000, 3_600_000],
    ['2^31 - 1', 2 ** 31 - 1, 3_600_000],
    ['2^31, which counts as 0 (RFC 2181 §8)', 2 ** 31, 0],
    ['2^32 - 1', 2 ** 32 - 1, 0]
  ])('takes a time to live of %s', async (_what, ttl, expected) => {
    await using primary = await fakeNameServer(always('192.0.2.1', ttl))
    const { resolver } = stage({ primary: [primary.address] })
    expect((await resolver.resolve(NAME, { family: 4 })).ttlMs).toBe(expected)
    expect((await resolver.resolve(NAME, { family: 4 })).source).toBe(expected === 0 ? 'asked' : 'cache')
  })

  it.each<[string, Respond]>([
    ['SERVFAIL', failing(rcode.servfail)],
    ['REFUSED', failing(rcode.refused)],
    ['FORMERR', failing(rcode.formerr)],
    ['an answer for other names (which c-ares takes)', (asked) => reply(asked, [a('evil.example', '6.6.6.6')])],
    [
      'an alias to a name that the address is not of',
      (asked) => reply(asked, [alias(NAME, 'x.example'), a('y.example', '6.6.6.6')])
    ],
    [
      'aliases in a circle',
      (asked) => reply(asked, [alias(NAME, 'x.example'), alias('x.example', NAME), a('z.example', '6.6.6.6')])
    ],
    [
      '17 aliases in a row',
      (asked) =>
        reply(asked, [
          alias(NAME, 'n0.example'),
          ...Array.from({ length: 16 }, (_, n) => alias(`n${n}.example`, `n${n + 1}.example`)),
          a('n16.example', '6.6.6.6')
        ])
    ]
  ])('asks the secondary at once when the primary answers %s', async (_what, respond) => {
    await using primary = await fakeNameServer(respond)
    await using secondary = await fakeNameServer(always('192.0.2.2'))
    const { resolver, told } = stage({ primary: [primary.address], secondary: [secondary.address] })
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('asked 192.0.2.2')
    expect(told()).toEqual(['resolver.failed'])
  })

  it.each<[string, Respond]>([
    ['silence', silent],
    ['garbage', () => new Uint8Array([1, 2, 3])],
    ['another id', (asked) => reply(asked, [a(NAME, '6.6.6.6')], { id: ((asked.query.id ?? 0) + 1) % 65_536 })],
    [
      'another question',
      (asked) => reply(asked, [a(NAME, '6.6.6.6')], { questions: [{ type: 'A', name: 'evil.example', class: 'IN' }] })
    ],
    [
      'another type',
      (asked) => reply(asked, [a(NAME, '6.6.6.6')], { questions: [{ type: 'AAAA', name: NAME, class: 'IN' }] })
    ],
    ['no question', (asked) => reply(asked, [a(NAME, '6.6.6.6')], { questions: [] })],
    ['a query', (asked) => ({ ...reply(asked, [a(NAME, '6.6.6.6')]), type: 'query' })]
  ])('does not believe %s, and hedges: the secondary is asked after 200 ms', async (_what, respond) => {
    await using primary = await fakeNameServer(respond)
    await using secondary = await fakeNameServer(always('192.0.2.2'))
    const { resolver, clock } = stage({ primary: [primary.address], secondary: [secondary.address] })
    const found = resolver.resolve(NAME, { family: 4 })
    await clock.advance(199)
    await untilAsked(primary, 1)
    expect(secondary.asked).toHaveLength(0)
    await clock.advance(1)
    expect(plain(await found)).toBe('asked 192.0.2.2')
    expect(clock.pendingTimers).toBe(0)
  })

  it('hears the true answer after a forged one for the same question', async () => {
    await using primary = await fakeNameServer((asked) => [
      reply(asked, [a(NAME, '6.6.6.6')], { id: (asked.query.id ?? 0) ^ 1 }),
      new Uint8Array(12),
      reply(asked, [a(NAME, '192.0.2.1')])
    ])
    const { resolver } = stage({ primary: [primary.address] })
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('asked 192.0.2.1')
  })

  it('sends a question again when a datagram is lost', async () => {
    let lost = 0
    await using primary = await fakeNameServer((asked) =>
      lost++ === 0 ? undefined : reply(asked, [a(NAME, '192.0.2.1')])
    )
    const { resolver, clock } = stage({ primary: [primary.address] })
    const found = resolver.resolve(NAME, { family: 4 })
    await untilAsked(primary, 1)
    await clock.advance(800)
    expect(plain(await found)).toBe('asked 192.0.2.1')
  })

  it('comes back over TCP for an answer that is cut short', async () => {
    const many = Array.from({ length: 200 }, (_, n) => a(NAME, `10.0.${n >> 8}.${n & 255}`))
    await using primary = await fakeNameServer((asked) =>
      asked.over === 'udp' ? reply(asked, [], { flags: 0x0200 | 0x0180 }) : reply(asked, many)
    )
    const { resolver } = stage({ primary: [primary.address] })
    const { addresses } = await resolver.resolve(NAME, { family: 4 })
    expect(addresses).toHaveLength(64)
    expect(primary.asked.map(({ over }) => over)).toEqual(['udp', 'tcp'])
  })

  it('follows aliases, in any case, and takes the least time to live on the way', async () => {
    await using primary = await fakeNameServer((asked) =>
      reply(asked, [
        a('Edge.CDN.example', '192.0.2.7', 300),
        alias('www.CDN.example', 'edge.cdn.EXAMPLE', 20),
        alias(asked.name.toUpperCase(), 'www.cdn.example', 90)
      ])
    )
    const { resolver } = stage({ primary: [primary.address] })
    expect(await resolver.resolve(NAME, { family: 4 })).toMatchObject({
      ttlMs: 20_000,
      addresses: [{ address: '192.0.2.7' }]
    })
  })

  it('is not kept from one family by the failure of the other, nor made to wait for it each time', async () => {
    await using primary = await fakeNameServer((asked) =>
      asked.type === 'A' ? reply(asked, [a(NAME, '192.0.2.1')]) : reply(asked, [], { code: rcode.servfail })
    )
    const { resolver } = stage({ primary: [primary.address] })
    expect(plain(await resolver.resolve(NAME))).toBe('asked 192.0.2.1')
    expect(plain(await resolver.resolve(NAME))).toBe('cache 192.0.2.1')
    expect(primary.asked).toHaveLength(2)
    expect(await failure(resolver.resolve(NAME, { family: 6 }))).toBe('NAME_UNRESOLVED EAI_AGAIN')
  })

  it('goes on to the next server of a tier when nothing listens at the first', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1'))
    const { resolver } = stage({ primary: ['127.0.0.1:9', primary.address] })
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('asked 192.0.2.1')
  })
})

describe('a name that does not exist', () => {
  it('is remembered for 5 s, and not a millisecond longer', async () => {
    await using primary = await fakeNameServer(failing(rcode.nxdomain))
    const { resolver, clock } = stage({ primary: [primary.address] })
    expect(await failure(resolver.resolve(NAME))).toBe('NAME_NOT_FOUND ENOTFOUND')
    await clock.advance(4_999)
    expect(await failure(resolver.resolve(NAME))).toBe('NAME_NOT_FOUND ENOTFOUND')
    expect(primary.asked).toHaveLength(2)
    await clock.advance(1)
    await failure(resolver.resolve(NAME))
    expect(primary.asked).toHaveLength(4)
  })

  it.each([
    ['SERVFAIL', failing(rcode.servfail)],
    ['no data', (asked) => reply(asked, [])]
  ] satisfies [string, Respond][])('is not what %s means: it is never remembered', async (_what, respond) => {
    await using primary = await fakeNameServer(respond)
    const { resolver } = stage({ primary: [primary.address] })
    await failure(resolver.resolve(NAME))
    primary.respond = always('192.0.2.1')
    expect(plain(await resolver.resolve(NAME))).toBe('asked 192.0.2.1')
  })

  it('is believed of a name that was never known, from the first that says so', async () => {
    await using primary = await fakeNameServer(failing(rcode.nxdomain))
    await using secondary = await fakeNameServer(always('192.0.2.2'))
    const { resolver } = stage({ primary: [primary.address], secondary: [secondary.address] })
    expect(await failure(resolver.resolve(NAME))).toBe('NAME_NOT_FOUND ENOTFOUND')
    expect(secondary.asked).toHaveLength(0)
  })

  it('is a failure of the server, of a name known good: the next is asked', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    await using secondary = await fakeNameServer(always('192.0.2.2', 10))
    const { resolver, clock, events } = stage({ primary: [primary.address], secondary: [secondary.address] })
    await resolver.resolve(NAME)
    primary.respond = failing(rcode.nxdomain)
    await clock.advance(10_000)
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('asked 192.0.2.2')
    expect(events).toMatchObject([{ type: 'resolver.failed', server: 'primary', reason: 'contradicted' }])
  })

  it('is an answer when all agree, even of a name known good: nothing stale is served', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    await using secondary = await fakeNameServer(failing(rcode.nxdomain))
    const { resolver, clock } = stage({ primary: [primary.address], secondary: [secondary.address] })
    await resolver.resolve(NAME)
    primary.respond = failing(rcode.nxdomain)
    await clock.advance(10_000)
    expect(await failure(resolver.resolve(NAME))).toBe('NAME_NOT_FOUND ENOTFOUND')
  })

  it('is no answer, of a name known good, when the other resolver fails or is the only one', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    await using secondary = await fakeNameServer(failing(rcode.servfail))
    for (const others of [{ secondary: [secondary.address] }, {}]) {
      primary.respond = always('192.0.2.1', 10)
      const { resolver, clock } = stage({ primary: [primary.address], ...others })
      await resolver.resolve(NAME)
      primary.respond = failing(rcode.nxdomain)
      await clock.advance(10_000)
      expect(plain(await resolver.resolve(NAME))).toBe('stale 192.0.2.1')
    }
  })
})

describe('an answer past its time', () => {
  it('is served while all fail, for 30 s at a time, up to a day, and not once one answers', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    const { resolver, clock, events, told } = stage({ primary: [primary.address] })
    await resolver.resolve(NAME, { family: 4 })
    primary.respond = failing(rcode.servfail)
    await clock.advance(15_000)
    expect(await resolver.resolve(NAME, { family: 4 })).toMatchObject({ source: 'stale', ttlMs: 30_000 })
    expect(events.at(-1)).toMatchObject({ type: 'resolver.stale-served', name: NAME, expiredForMs: 5_000 })
    const before = primary.asked.length
    await clock.advance(29_999)
    expect((await resolver.resolve(NAME, { family: 4 })).source).toBe('stale')
    expect(primary.asked.length).toBe(before)
    await clock.advance(1)
    primary.respond = always('192.0.2.9', 10)
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('asked 192.0.2.9')
    expect(told()).toEqual([
      'resolver.failed',
      'resolver.stale-served',
      'resolver.recovered',
      'resolver.name-recovered'
    ])
  })

  it.each([
    [86_400_000 - 1, 'stale 192.0.2.1'],
    [86_400_000, 'NAME_UNRESOLVED EAI_AGAIN']
  ])('is served %d ms after that: %s', async (pastMs, expected) => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    const { resolver, clock } = stage({ primary: [primary.address] })
    await resolver.resolve(NAME, { family: 4 })
    primary.respond = failing(rcode.servfail)
    await clock.advance(10_000 + pastMs)
    expect(
      await resolver.resolve(NAME, { family: 4 }).then(plain, (error: Error) => failure(Promise.reject(error)))
    ).toBe(expected)
  })

  it.each([
    [false, 'NAME_UNRESOLVED EAI_AGAIN'],
    [true, 'stale 192.0.2.1']
  ])('with a time to live of 0 and staleZeroTtl %s: %s', async (staleZeroTtl, expected) => {
    await using primary = await fakeNameServer(always('192.0.2.1', 0))
    const { resolver } = stage({ primary: [primary.address], staleZeroTtl })
    await resolver.resolve(NAME, { family: 4 })
    primary.respond = failing(rcode.servfail)
    expect(
      await resolver.resolve(NAME, { family: 4 }).then(plain, (error: Error) => failure(Promise.reject(error)))
    ).toBe(expected)
  })

  it('is served when the deadline cuts a look-up off, on the dot', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    const { resolver, clock } = stage({ primary: [primary.address], timeoutMs: 1_000, serverTimeoutMs: 60_000 })
    await resolver.resolve(NAME, { family: 4 })
    primary.respond = silent
    await clock.advance(10_000)
    const startedAt = clock.monotonic()
    const found = resolver.resolve(NAME, { family: 4 }).then((one) => ({ at: clock.monotonic(), source: one.source }))
    await clock.advance(999)
    await clock.advance(1)
    expect(await found).toEqual({ at: startedAt + 1_000, source: 'stale' })
    expect(clock.pendingTimers).toBe(0)
  })

  it('does not bring back a family that all have denied since', async () => {
    let has6 = true
    await using server = await fakeNameServer((asked) =>
      reply(asked, asked.type === 'A' ? [a(NAME, '192.0.2.1', 1)] : has6 ? [aaaa(NAME, '2001:db8::1', 300)] : [])
    )
    const { resolver, clock } = stage({ primary: [server.address], secondary: [server.address] })
    expect(plain(await resolver.resolve(NAME))).toBe('asked 192.0.2.1 2001:db8::1')
    has6 = false
    await clock.advance(1_000)
    expect(plain(await resolver.resolve(NAME))).toBe('asked 192.0.2.1')
    expect(plain(await resolver.resolve(NAME))).toBe('cache 192.0.2.1')
    server.respond = failing(rcode.servfail)
    await clock.advance(1_000)
    expect(plain(await resolver.resolve(NAME))).toBe('stale 192.0.2.1')
    await resolver.close()
  })

  it('is asked for each time when it may stand for 0 ms', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    const { resolver, clock } = stage({ primary: [primary.address], staleTtlMs: 0 })
    await resolver.resolve(NAME, { family: 4 })
    primary.respond = failing(rcode.servfail)
    await clock.advance(10_000)
    expect((await resolver.resolve(NAME, { family: 4 })).source).toBe('stale')
    primary.respond = always('192.0.2.9', 10)
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('asked 192.0.2.9')
  })

  it('does not depend on the wall clock, which may jump', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    const { resolver, clock } = stage({ primary: [primary.address] })
    await resolver.resolve(NAME, { family: 4 })
    clock.jumpWallTo(4e12)
    expect((await resolver.resolve(NAME, { family: 4 })).source).toBe('cache')
  })
})

describe('a pinned address', () => {
  const pinned = { [NAME]: ['203.0.113.5'] }

  it('is used last: after all fail and nothing stale is left', async () => {
    await using primary = await fakeNameServer(failing(rcode.servfail))
    const { resolver, told } = stage({ primary: [primary.address], pinned })
    expect(plain(await resolver.resolve(NAME))).toBe('pinned 203.0.113.5')
    expect(told().at(-1)).toBe('resolver.pinned-used')
    primary.respond = always('192.0.2.1', 1)
  })

  it('gives way to what is stale, which was true more lately', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1', 10))
    const { resolver, clock } = stage({ primary: [primary.address], pinned })
    await resolver.resolve(NAME)
    primary.respond = failing(rcode.servfail)
    await clock.advance(10_000)
    expect(plain(await resolver.resolve(NAME))).toBe('stale 192.0.2.1')
  })

  it('is used even when all deny the name, whose operator says that it is critical', async () => {
    await using primary = await fakeNameServer(failing(rcode.nxdomain))
    await using secondary = await fakeNameServer(failing(rcode.nxdomain))
    const { resolver, events } = stage({ primary: [primary.address], secondary: [secondary.address], pinned })
    expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe('pinned 203.0.113.5')
    expect(events.at(-1)).toMatchObject({ type: 'resolver.pinned-used', because: 'not-found' })
  })

  it('is not used while a server answers', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1'))
    const { resolver } = stage({ primary: [primary.address], pinned })
    expect(plain(await resolver.resolve(NAME))).toBe('asked 192.0.2.1')
  })
})

describe('rebinding protection', () => {
  it('drops private addresses of public names, and takes an answer without others for a failure', async () => {
    await using primary = await fakeNameServer((asked) =>
      reply(
        asked,
        asked.type === 'A'
          ? [a(asked.name, '127.0.0.1'), a(asked.name, '192.88.99.1')]
          : [aaaa(asked.name, '::ffff:10.0.0.1')]
      )
    )
    const { resolver, told } = stage({
      primary: [primary.address],
      privateAddresses: 'drop',
      privateNames: ['corp.example.com']
    })
    expect(plain(await resolver.resolve(NAME))).toBe('asked 192.88.99.1')
    expect(told()).toContain('resolver.private-dropped')
    primary.respond = always('10.1.2.3')
    expect(await failure(resolver.resolve('evil.example', { family: 4 }))).toBe('NAME_UNRESOLVED EAI_AGAIN')
    for (const name of ['db.corp.example.com', 'db.internal', 'db']) {
      expect(plain(await resolver.resolve(name, { family: 4 }))).toBe('asked 10.1.2.3')
    }
  })

  it.each([
    '0.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
    '127.9.9.9',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.0.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255'
  ])('counts %s as private', async (address) => {
    await using primary = await fakeNameServer(always(address))
    const { resolver } = stage({ primary: [primary.address], privateAddresses: 'drop' })
    expect(await failure(resolver.resolve(NAME, { family: 4 }))).toMatch('NAME_UNRESOLVED')
  })

  it.each([
    '::',
    '::1',
    '::ffff:8.8.8.8',
    'fc00::1',
    'fe80::1',
    'fec0::1',
    'ff02::1',
    '2002:7f00:1::',
    '64:ff9b::a00:1',
    '64:ff9b::7f00:1'
  ])('counts %s as private', async (address) => {
    await using primary = await fakeNameServer((asked) => reply(asked, [aaaa(NAME, address)]))
    const { resolver } = stage({ primary: [primary.address], privateAddresses: 'drop' })
    expect(await failure(resolver.resolve(NAME, { family: 6 }))).toMatch('NAME_UNRESOLVED')
  })

  it.each(['1.1.1.1', '172.32.0.1', '100.128.0.1', '192.0.3.1', '223.255.255.255'])(
    'counts %s as public',
    async (address) => {
      await using primary = await fakeNameServer(always(address))
      const { resolver } = stage({ primary: [primary.address], privateAddresses: 'drop' })
      expect(plain(await resolver.resolve(NAME, { family: 4 }))).toBe(`asked ${address}`)
    }
  )
})

describe('names', () => {
  it.each([
    ['Api.Example.COM', 'api.example.com'],
    ['api.example.com.', 'api.example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['_dmarc.example.com', '_dmarc.example.com'],
    ['db', 'db']
  ])('%s is asked for as %s, and shares what is remembered', async (input, name) => {
    await using primary = await fakeNameServer(always('192.0.2.1'))
    const { resolver } = stage({ primary: [primary.address] })
    expect((await resolver.resolve(input, { family: 4 })).name).toBe(name)
    expect(primary.asked).toMatchObject([{ name }])
    expect((await resolver.resolve(name, { family: 4 })).source).toBe('cache')
  })

  it.each(['192.0.2.1', '::1', '[2001:db8::1]', 'fe80::1%eth0'])(
    '%s passes without being asked for',
    async (address) => {
      await using primary = await fakeNameServer(silent)
      const { resolver } = stage({ primary: [primary.address] })
      expect((await resolver.resolve(address)).source).toBe('literal')
      expect((await resolver.resolve('Foo.LocalHost.')).addresses.map((one) => one.address)).toEqual([
        '127.0.0.1',
        '::1'
      ])
      expect(primary.asked).toEqual([])
    }
  )

  it.each([
    '',
    '.',
    'a..b',
    '.a',
    'a b',
    'a\0b',
    'a/b',
    'a@b',
    'a:80',
    'a%2eb',
    `${'x'.repeat(64)}.example`,
    Array(64).fill('abc').join('.'),
    'x'.repeat(100_000),
    '1.2.3',
    '0x7f.1',
    '１２７.0.0.1',
    '256.1.1.1',
    'a.1',
    null,
    undefined,
    7,
    {}
  ])('%j is refused, typed', async (input) => {
    const { resolver } = stage({ primary: ['127.0.0.1:9'] })
    expect(await failure(resolver.resolve(input as string))).toBe('NAME_INVALID')
  })
})

describe('look-ups at once', () => {
  it('are one question; whoever gives up does not take the others along', async () => {
    await using primary = await fakeNameServer(silent)
    const { resolver, clock } = stage({ primary: [primary.address] })
    const leader = new AbortController()
    const first = failure(resolver.resolve(NAME, { family: 4, signal: leader.signal }))
    const others = Array.from({ length: 20 }, () => resolver.resolve(NAME, { family: 4 }))
    await untilAsked(primary, 1)
    leader.abort(Object.assign(new Error('enough'), { code: 'ENOUGH' }))
    expect(await first).toBe('ENOUGH')
    primary.respond = always('192.0.2.1')
    await clock.advance(800)
    expect(new Set((await Promise.all(others)).map(plain))).toEqual(new Set(['asked 192.0.2.1']))
    expect(primary.asked).toHaveLength(2)
  })

  it('end with CLOSED when the resolver is closed, and leave nothing behind', async () => {
    await using primary = await fakeNameServer(silent)
    const { resolver, clock, events } = stage({ primary: [primary.address] })
    const found = failure(resolver.resolve(NAME))
    await untilAsked(primary, 2)
    await resolver.close()
    expect(await found).toBe('CLOSED')
    expect(await failure(resolver.resolve(NAME))).toBe('CLOSED')
    expect(clock.pendingTimers).toBe(0)
    expect(events).toEqual([])
  })

  it('wait no longer than the deadline, however many servers are silent', async () => {
    await using primary = await fakeNameServer(silent)
    const { resolver, clock } = stage({
      primary: [primary.address, primary.address],
      secondary: [primary.address],
      timeoutMs: 1_000
    })
    const startedAt = clock.monotonic()
    const found = resolver
      .resolve(NAME)
      .catch((error: { code: string }) => `${error.code} at ${clock.monotonic() - startedAt}`)
    expect(await onceSettled(clock, found)).toBe('NAME_UNRESOLVED at 1000')
  })

  it('remember a bounded number of names, the least used making room', async () => {
    await using primary = await fakeNameServer(always('192.0.2.1'))
    const { resolver } = stage({ primary: [primary.address], namesMax: 2 })
    for (const name of ['a.example', 'b.example', 'a.example', 'c.example']) await resolver.resolve(name, { family: 4 })
    expect((await resolver.resolve('a.example', { family: 4 })).source).toBe('cache')
    expect((await resolver.resolve('b.example', { family: 4 })).source).toBe('asked')
  })
})

describe('the options of a resolver', () => {
  it.each<[string, object]>([
    ['primary', { primary: ['dns.example'] }],
    ['primary', { primary: ['192.0.2.1:0'] }],
    ['primary', { primary: [] }],
    ['doh.0.url', { doh: [{ url: 'http://192.0.2.1/dns-query' }] }],
    ['doh.0.addresses', { doh: [{ url: 'https://dns.example/dns-query' }] }],
    ['pinned', { pinned: { 'api.example': ['not an address'] } }],
    ['pinned', { pinned: { '1.2.3': ['192.0.2.1'] } }],
    ['missingTtlMs', { missingTtlMs: 5_001 }],
    ['hegdeMs', { hegdeMs: 1 }]
  ])('name what is wrong: %s', (path, options) => {
    expect(() => createResolver(options)).toThrow(path)
  })
})

async function untilAsked(server: FakeNameServer, count: number): Promise<void> {
  while (server.asked.length < count) await new Promise((resolve) => setImmediate(resolve))
}
