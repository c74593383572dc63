import { testPlatform } from '@enablement/core/testing'
import { createResolver, type DohEndpoint, type ResolverEvent } from '@enablement/runtime/network'
import { describe, expect, it } from 'vitest'
import { bundle, issue } from '../fakes/certificates.ts'
import { type FakeDohOptions, type FakeDohServer, fakeDohServer } from '../fakes/fake-doh-server.ts'
import { a, always, failing, type Respond, rcode, reply, silent } from '../fakes/fake-name-server.ts'

const DAY = 86_400_000
/** Node verifies by the machine's clock. */
const NOW = Date.now()
const span = { notBefore: NOW - DAY, notAfter: NOW + DAY }
const root = await issue('root', { ...span, authority: true })
const HOST = 'dns.example'
const NAME = 'api.example.com'
const leaf = await issue('dns', { ...span, issuer: root, hosts: [HOST, '127.0.0.1'] })

const dohServer = (respond: Respond, options: Partial<FakeDohOptions> = {}): Promise<FakeDohServer> =>
  fakeDohServer(respond, { cert: bundle(leaf, root), key: leaf.keyPem, ...options })

/** A resolver whose primary is dead, so that all goes over HTTPS. */
function stage(server: { readonly port: number }, endpoint: Partial<DohEndpoint> = {}) {
  const platform = testPlatform()
  const events: ResolverEvent[] = []
  const resolver = createResolver({
    platform,
    primary: ['127.0.0.1:9'],
    doh: [{ url: `https://${HOST}:${server.port}/dns-query`, addresses: ['127.0.0.1'], ca: root.pem, ...endpoint }],
    observe: (event) => void events.push(event)
  })
  const reasons = () =>
    events.flatMap((event) => (event.type === 'resolver.failed' && event.server === 'doh' ? [event.reason] : []))
  return { platform, resolver, events, reasons }
}

const ask = (resolver: ReturnType<typeof createResolver>, family: 4 | 6 = 4) =>
  resolver.resolve(NAME, { family }).then(
    ({ addresses }) => addresses.map(({ address }) => address).join(' '),
    (error: { code: string }) => error.code
  )

describe('DNS over HTTPS', () => {
  it.each<[string, boolean, 'GET' | 'POST']>([
    ['HTTP/2', false, 'POST'],
    ['HTTP/2', false, 'GET'],
    ['HTTP/1.1', true, 'POST'],
    ['HTTP/1.1', true, 'GET']
  ])('%s (HTTP/1.1: %s), %s', async (_what, http1, method) => {
    await using server = await dohServer(always('192.0.2.1'), { http1 })
    const { resolver } = stage(server, { method })
    expect(await ask(resolver)).toBe('192.0.2.1')
    const [request] = server.requests
    expect(request).toMatchObject({ method, host: `${HOST}:${server.port}`, version: http1 ? '1.1' : '2.0' })
    expect(request?.path).toMatch(method === 'GET' ? /^\/dns-query\?dns=[\w-]+$/ : /^\/dns-query$/)
    expect(server.servernames).toEqual([HOST])
    // RFC 8484 §4.1.
    expect(server.asked[0]?.query.id).toBe(0)
    await resolver.close()
  })

  it('keeps its connection for the next questions, and closes it when idle and when closed', async () => {
    await using server = await dohServer(always('192.0.2.1', 0))
    const { resolver, platform } = stage(server)
    for (let n = 0; n < 3; n++) expect(await ask(resolver)).toBe('192.0.2.1')
    expect(server.connections).toBe(1)
    await platform.clock.advance(30_000)
    expect(await ask(resolver)).toBe('192.0.2.1')
    expect(server.connections).toBe(2)
    await resolver.close()
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('is bootstrapped by address where the URL has one, whose certificate must be for that address', async () => {
    await using server = await dohServer(always('192.0.2.1'))
    const { resolver } = stage(server, { url: `https://127.0.0.1:${server.port}/dns-query` })
    expect(await ask(resolver)).toBe('192.0.2.1')
    expect(server.servernames).toEqual([false])
    await resolver.close()
  })

  it('goes on to the next address, and the next endpoint', async () => {
    await using down = await dohServer(failing(rcode.servfail))
    await using server = await dohServer(always('192.0.2.1'))
    const resolver = createResolver({
      primary: ['127.0.0.1:9'],
      doh: [
        { url: `https://${HOST}:${down.port}/`, addresses: ['127.0.0.1'], ca: root.pem },
        { url: `https://${HOST}:${server.port}/`, addresses: ['127.0.0.9', '127.0.0.1'], ca: root.pem }
      ]
    })
    expect(await ask(resolver)).toBe('192.0.2.1')
    await resolver.close()
  })

  it.each<[string, Respond, Partial<FakeDohOptions>, string]>([
    ['HTTP 404', always('6.6.6.6'), { status: 404 }, 'refused'],
    ['a redirect', always('6.6.6.6'), { status: 302, headers: { location: 'https://evil.example/' } }, 'refused'],
    ['another media type', always('6.6.6.6'), { headers: { 'content-type': 'application/json' } }, 'malformed'],
    ['garbage', () => new Uint8Array(64).fill(255), {}, 'malformed'],
    ['nothing', () => new Uint8Array(), {}, 'malformed'],
    ['more than a message can be', () => new Uint8Array(65_536), {}, 'malformed'],
    ['a megabyte', () => new Uint8Array(1_048_576), {}, 'malformed'],
    [
      'an answer to another question',
      (asked) => reply(asked, [a(NAME, '6.6.6.6')], { questions: [{ type: 'A', name: 'evil.example', class: 'IN' }] }),
      {},
      'malformed'
    ],
    ['an answer about another name', (asked) => reply(asked, [a('evil.example', '6.6.6.6')]), {}, 'malformed'],
    ['an answer cut short', (asked) => reply(asked, [a(NAME, '6.6.6.6')], { flags: 0x0200 }), {}, 'malformed'],
    ['SERVFAIL', failing(rcode.servfail), {}, 'refused']
  ])('takes %s for a failure, over either version of HTTP', async (_what, respond, options, reason) => {
    for (const http1 of [false, true]) {
      await using server = await dohServer(respond, { ...options, http1 })
      const { resolver, reasons } = stage(server)
      expect(await ask(resolver)).toBe('NAME_UNRESOLVED')
      expect(reasons()).toEqual([reason])
      await resolver.close()
    }
  })

  it.each([
    ['of a stranger', async () => issue('stranger', { ...span, hosts: [HOST] })],
    ['for another host', async () => issue('other', { ...span, issuer: root, hosts: ['other.example'] })],
    ['for its address alone', async () => issue('address', { ...span, issuer: root, hosts: ['127.0.0.1'] })],
    [
      'that has expired',
      async () => issue('old', { notBefore: NOW - 2 * DAY, notAfter: NOW - DAY, issuer: root, hosts: [HOST] })
    ]
  ])('asks nothing of a server with a certificate %s, whatever the environment says', async (_what, make) => {
    const wrong = await make()
    await using server = await dohServer(always('6.6.6.6'), { cert: bundle(wrong, root), key: wrong.keyPem })
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const { resolver, reasons } = stage(server)
      expect(await ask(resolver)).toBe('NAME_UNRESOLVED')
      expect(reasons()).toEqual(['untrusted'])
      expect(server.requests).toEqual([])
    } finally {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
    }
  })

  it('gives up on a server that is silent, and is there again for the next question', async () => {
    await using server = await dohServer(silent)
    const { resolver, platform, reasons } = stage(server)
    const found = ask(resolver)
    while (server.asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await platform.clock.advance(2_000)
    expect(await found).toBe('NAME_UNRESOLVED')
    expect(reasons()).toEqual(['timed-out'])
    server.respond = always('192.0.2.1')
    expect(await ask(resolver)).toBe('192.0.2.1')
    await resolver.close()
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('does not ask again over a connection that went silent', async () => {
    await using server = await dohServer(always('192.0.2.1', 0))
    const { resolver, platform } = stage(server)
    expect(await ask(resolver)).toBe('192.0.2.1')
    server.respond = silent
    const found = ask(resolver)
    while (server.asked.length === 1) await new Promise((resolve) => setImmediate(resolve))
    await platform.clock.advance(2_000)
    expect(await found).toBe('NAME_UNRESOLVED')
    server.respond = always('192.0.2.2', 0)
    expect(await ask(resolver)).toBe('192.0.2.2')
    expect(server.connections).toBe(2)
    await resolver.close()
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it.each([
    ['20', 40_000],
    ['90', 0],
    ['garbage', 60_000]
  ])('takes the age %s in a cache on the way off the time to live (RFC 8484 §5.1)', async (age, ttlMs) => {
    await using server = await dohServer(always('192.0.2.1', 60), { headers: { age } })
    const { resolver } = stage(server)
    expect((await resolver.resolve(NAME, { family: 4 })).ttlMs).toBe(ttlMs)
    await resolver.close()
  })
})
