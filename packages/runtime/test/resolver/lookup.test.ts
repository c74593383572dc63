import { createServer as createHttps, request as requestHttps } from 'node:https'
import { type AddressInfo, createConnection, createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { createCertificateJudge, createResolver, type LookupOptions } from '@enablement/runtime/network'
import { Agent, request } from 'undici'
import { describe, expect, it } from 'vitest'
import { bundle, issue } from '../fakes/certificates.ts'
import { a, aaaa, failing, fakeNameServer, rcode, reply } from '../fakes/fake-name-server.ts'

const DAY = 86_400_000
const span = { notBefore: Date.now() - DAY, notAfter: Date.now() + DAY }
const root = await issue('root', { ...span, authority: true })
const HOST = 'api.example.com'

const answering = (v4: string) =>
  fakeNameServer((asked) =>
    asked.name.startsWith('no.')
      ? reply(asked, [], { code: rcode.nxdomain })
      : reply(
          asked,
          asked.type === 'A' ? [a(asked.name, v4), a(asked.name, '192.0.2.2')] : [aaaa(asked.name, '2001:db8::1')]
        )
  )

/** What the callback was called with; a call that throws at once is a failure of the test. */
const called = (call: (callback: (...answer: unknown[]) => void) => void): Promise<readonly unknown[]> =>
  new Promise((resolve) => call((...answer) => resolve(answer)))

describe('a lookup', () => {
  const first = [null, '192.0.2.1', 4]
  const all = [
    { address: '192.0.2.1', family: 4 },
    { address: '192.0.2.2', family: 4 },
    { address: '2001:db8::1', family: 6 }
  ]
  it.each<[string, readonly (number | LookupOptions | undefined)[], readonly unknown[]]>([
    ['(name, callback)', [], first],
    ['(name, 4, callback)', [4], first],
    ['(name, 6, callback)', [6], [null, '2001:db8::1', 6]],
    ['(name, 0, callback)', [0], first],
    ['(name, undefined, callback)', [undefined], first],
    ['{}', [{}], first],
    ['{ family: 6 }', [{ family: 6 }], [null, '2001:db8::1', 6]],
    ['{ family: "IPv6" }', [{ family: 'IPv6' }], [null, '2001:db8::1', 6]],
    ['{ all: true }', [{ all: true }], [null, all]],
    [
      '{ all: true, family: 0, hints: 1024, verbatim: true }',
      [{ all: true, family: 0, hints: 1_024, verbatim: true }],
      [null, all]
    ],
    ['{ all: true, family: 4 }', [{ all: true, family: 4 }], [null, all.slice(0, 2)]],
    ['{ order: "ipv6first" }', [{ order: 'ipv6first' }], [null, '2001:db8::1', 6]],
    ['{ all: true, order: "ipv6first" }', [{ all: true, order: 'ipv6first' }], [null, [all[2], all[0], all[1]]]]
  ])('answers %s as Node’s own does', async (_form, options, expected) => {
    await using server = await answering('192.0.2.1')
    const { lookup } = createResolver({ primary: [server.address] })
    expect(await called((callback) => (lookup as (...args: unknown[]) => void)(HOST, ...options, callback))).toEqual(
      expected
    )
  })

  it.each([
    ['no.example', 'NAME_NOT_FOUND', 'ENOTFOUND'],
    ['a..b', 'NAME_INVALID', undefined],
    [undefined, 'NAME_INVALID', undefined],
    [7, 'NAME_INVALID', undefined]
  ])('tells the callback of %s, in a later turn, and never throws', async (name, code, cause) => {
    await using server = await answering('192.0.2.1')
    const { lookup } = createResolver({ primary: [server.address] })
    let later = false
    const told = called((callback) => lookup(name as string, { all: true }, (...answer) => callback(...answer, later)))
    later = true
    const [error, , wasLater] = (await told) as [Error & { code: string; cause?: { code: string } }, unknown, boolean]
    expect([error.code, error.cause?.code, wasLater]).toEqual([code, cause, true])
  })

  it('serves net: a connection by name', async () => {
    await using names = await answering('127.0.0.1')
    const { lookup } = createResolver({ primary: [names.address] })
    const server = createServer((socket) => socket.end('hello'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    for (const autoSelectFamily of [true, false]) {
      const socket = createConnection({ host: HOST, port, lookup, autoSelectFamily })
      expect(String(await new Promise((resolve) => socket.once('data', resolve)))).toBe('hello')
      socket.destroy()
    }
    await new Promise<void>((resolve) => server.close(() => resolve()))
  })
})

describe('a pinned address', () => {
  /** An HTTPS server for `hosts`, the addresses of whose name can only come from a pin. */
  async function pinnedTo(hosts: readonly string[]) {
    const names = await fakeNameServer(failing(rcode.servfail))
    const leaf = await issue('leaf', { ...span, issuer: root, hosts })
    const seen: string[] = []
    const server = createHttps({ cert: bundle(leaf, root), key: leaf.keyPem }, (incoming, response) => {
      seen.push(
        `${incoming.headers.host?.replace(/:\d+$/, '')} ${String((incoming.socket as { servername?: unknown }).servername)}`
      )
      response.end('hello')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { lookup } = createResolver({ primary: [names.address], pinned: { [HOST]: ['127.0.0.1'] } })
    return {
      port,
      seen,
      lookup,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        await new Promise<void>((resolve) => server.close(() => resolve()))
        await names[Symbol.asyncDispose]()
      }
    }
  }
  type Kit = Awaited<ReturnType<typeof pinnedTo>>

  const clients: readonly [string, (kit: Kit) => Promise<void>][] = [
    [
      'undici',
      async ({ port, lookup }) => {
        const dispatcher = new Agent({ connect: { lookup, ca: root.pem } })
        try {
          await (await request(`https://${HOST}:${port}/`, { dispatcher })).body.dump()
        } finally {
          await dispatcher.destroy()
        }
      }
    ],
    [
      'undici with a judge of certificates',
      async ({ port, lookup }) => {
        const dispatcher = new Agent({
          connect: createCertificateJudge({ warningDays: 0, ca: root.pem, lookup }).connect
        })
        try {
          await (await request(`https://${HOST}:${port}/`, { dispatcher })).body.dump()
        } finally {
          await dispatcher.destroy()
        }
      }
    ],
    [
      'node:https',
      ({ port, lookup }) =>
        new Promise((resolve, reject) => {
          requestHttps({ host: HOST, port, lookup, ca: root.pem, agent: false }, (response) => {
            response.resume().on('end', resolve)
          })
            .on('error', reject)
            .end()
        })
    ],
    [
      'node:tls',
      ({ port, lookup }) =>
        new Promise((resolve, reject) => {
          const socket = connectTls({ host: HOST, servername: HOST, port, lookup, ca: root.pem }, () => {
            socket.end(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`)
          })
          socket.on('error', reject)
          socket.resume().on('end', resolve)
        })
    ]
  ]

  it.each(clients)(
    'under %s keeps the name of the host, in the request and in the handshake, and verifies it',
    async (_client, connect) => {
      await using right = await pinnedTo([HOST])
      await connect(right)
      expect(right.seen).toEqual([`${HOST} ${HOST}`])
      // Somebody else has the address by now.
      await using wrong = await pinnedTo(['squatter.example'])
      await expect(connect(wrong)).rejects.toSatisfy((error: { code: string; cause?: { code?: string } }) =>
        [error.code, error.cause?.code].includes('ERR_TLS_CERT_ALTNAME_INVALID')
      )
      expect(wrong.seen).toEqual([])
    }
  )
})
