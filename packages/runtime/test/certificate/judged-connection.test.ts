import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { testPlatform } from '@enablement/core/testing'
import {
  type CertificateEvent,
  type CertificateJudgeOptions,
  createCertificateJudge
} from '@enablement/runtime/network'
import { Agent, request } from 'undici'
import { describe, expect, it } from 'vitest'
import { bundle, type IssueOptions, issue } from '../fakes/certificates.ts'
import { tlsServer } from '../fakes/tls-server.ts'

const DAY = 86_400_000
/** Node and OpenSSL go by the machine's clock, so that these certificates are dated by it. */
const NOW = Date.now()
const long = { notBefore: NOW - 1_000 * DAY, notAfter: NOW + 3_000 * DAY, authority: true }
const root = await issue('root', long)
const intermediate = await issue('intermediate', { ...long, issuer: root })
const stranger = await issue('stranger root', long)

interface Attempt {
  readonly outcome: string
  /** Bytes that the server got from a client that writes as soon as it has a socket. */
  readonly received: number
  readonly events: readonly CertificateEvent[]
}

/** Connects to a real server with such a leaf, and sends a secret as soon as it may. */
async function attempt(
  leafOptions: IssueOptions,
  options: Partial<CertificateJudgeOptions> & { readonly now?: number } = {}
): Promise<Attempt> {
  const { now = NOW, ...rest } = options
  const leaf = await issue('leaf', {
    issuer: intermediate,
    notBefore: NOW - 100 * DAY,
    notAfter: NOW + 90 * DAY,
    ...leafOptions
  })
  const sent = leafOptions.issuer === undefined ? [intermediate] : [leafOptions.issuer]
  await using server = await tlsServer({ cert: bundle(leaf, ...sent), key: leaf.keyPem }, (socket) =>
    socket.write('hello')
  )
  const events: CertificateEvent[] = []
  const judge = createCertificateJudge({
    warningDays: 0,
    ca: root.pem,
    platform: testPlatform({ now }),
    observe: (event) => void events.push(event),
    ...rest
  })
  let outcome: string
  try {
    const { socket, verdict } = await judge.open({ host: '127.0.0.1', port: server.port, servername: 'localhost' })
    outcome = verdict.outcome
    await new Promise<void>((resolve) => socket.end('secret', () => resolve()))
    socket.resume()
    await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  } catch (error) {
    const { code, detail, cause } = error as { code: string; detail: { reason: string }; cause: { code: string } }
    outcome = `${code} ${detail.reason} ${cause.code}`
  }
  return { outcome, received: server.received, events }
}

describe('a judged connection', () => {
  const expired = { notBefore: NOW - 100 * DAY, notAfter: NOW - DAY }

  it.each<[string, IssueOptions, Partial<CertificateJudgeOptions> & { readonly now?: number }, string]>([
    ['a valid certificate', {}, {}, 'trusted'],
    ['one with 5 days left', { notAfter: NOW + 5 * DAY + 60_000 }, { warningDays: 14 }, 'warned'],
    ['an expired one', expired, {}, 'CERTIFICATE_REJECTED expired CERT_HAS_EXPIRED'],
    ['an expired one that may pass', expired, { allowExpired: true }, 'warned'],
    [
      'one of tomorrow',
      { notBefore: NOW + DAY },
      { allowExpired: true },
      'CERTIFICATE_REJECTED not-yet-valid CERT_NOT_YET_VALID'
    ],
    [
      'one for another host',
      { hosts: ['other.example'] },
      { allowExpired: true },
      'CERTIFICATE_REJECTED host-mismatch ERR_TLS_CERT_ALTNAME_INVALID'
    ],
    [
      'an expired one for another host',
      { ...expired, hosts: ['other.example'] },
      { allowExpired: true },
      'CERTIFICATE_REJECTED host-mismatch ERR_TLS_CERT_ALTNAME_INVALID'
    ],
    [
      'one of a stranger',
      { issuer: stranger },
      { allowExpired: true },
      'CERTIFICATE_REJECTED untrusted SELF_SIGNED_CERT_IN_CHAIN'
    ],
    // OpenSSL says CERT_HAS_EXPIRED of this one, and keeps the rest to itself.
    [
      'an expired one of a stranger',
      { ...expired, issuer: stranger },
      { allowExpired: true },
      'CERTIFICATE_REJECTED untrusted CERT_HAS_EXPIRED'
    ],
    [
      'a forged one',
      { forgedWith: stranger },
      { allowExpired: true },
      'CERTIFICATE_REJECTED untrusted CERT_SIGNATURE_FAILURE'
    ],
    [
      'an expired and forged one',
      { ...expired, forgedWith: stranger },
      { allowExpired: true },
      'CERTIFICATE_REJECTED untrusted CERT_HAS_EXPIRED'
    ],
    [
      'one that expired by our clock, which is ahead',
      {},
      { now: NOW + 91 * DAY },
      'CERTIFICATE_REJECTED expired CERT_HAS_EXPIRED'
    ],
    ['the same that may pass', {}, { now: NOW + 91 * DAY, allowExpired: true }, 'warned'],
    ['one that our clock, which is behind, holds for valid', expired, { now: NOW - 2 * DAY }, 'trusted'],
    [
      'one that begins later by our clock, which is behind',
      {},
      { now: NOW - 101 * DAY },
      'CERTIFICATE_REJECTED not-yet-valid CERT_NOT_YET_VALID'
    ],
    ['one that has begun by our clock, which is ahead', { notBefore: NOW + DAY }, { now: NOW + 2 * DAY }, 'trusted']
  ])('to a server with %s', async (_what, leaf, options, expected) => {
    const { outcome, received, events } = await attempt(leaf, options)
    expect(outcome).toBe(expected)
    const goes = expected === 'trusted' || expected === 'warned'
    expect(received).toBe(goes ? 'secret'.length : 0)
    expect(events.map(({ type }) => type)).toEqual(
      goes ? (expected === 'warned' ? ['certificate.warned'] : []) : ['certificate.rejected']
    )
  })

  it('is refused for what OpenSSL found, and for what it hides behind an expired leaf', async () => {
    // Key usage says that it signs; basic constraints do not.
    const pretender = await issue('pretender', {
      issuer: root,
      usages: 32,
      notBefore: NOW - 100 * DAY,
      notAfter: NOW + DAY
    })
    const fresh = await attempt({ issuer: pretender }, { allowExpired: true })
    expect(fresh.events).toMatchObject([
      { reason: 'untrusted', message: expect.stringMatching(/^OpenSSL found INVALID_/) }
    ])
    const stale = await attempt({ issuer: pretender, ...expired }, { allowExpired: true })
    expect(stale.events).toMatchObject([{ reason: 'untrusted', message: 'the intermediate may not sign certificates' }])
    expect(fresh.received + stale.received).toBe(0)
  })

  it('is refused for an expired intermediate whatever may pass', async () => {
    const old = await issue('old', { authority: true, issuer: root, ...expired })
    for (const leaf of [{ issuer: old }, { issuer: old, ...expired }]) {
      const { outcome, received } = await attempt(leaf, { allowExpired: true })
      expect(outcome).toBe('CERTIFICATE_REJECTED expired CERT_HAS_EXPIRED')
      expect(received).toBe(0)
    }
  })

  it('is judged although NODE_TLS_REJECT_UNAUTHORIZED=0 turns Node’s own verification off', async () => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      expect((await attempt({ issuer: stranger })).outcome).toMatch('untrusted')
    } finally {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
    }
  })

  it('trusts no private root without being told: Node’s own are the default', async () => {
    const leaf = await issue('leaf', { issuer: intermediate, notAfter: NOW + DAY })
    await using server = await tlsServer({ cert: bundle(leaf, intermediate), key: leaf.keyPem })
    const judge = createCertificateJudge({ warningDays: 0 })
    await expect(judge.open({ host: '127.0.0.1', port: server.port, servername: 'localhost' })).rejects.toMatchObject({
      code: 'CERTIFICATE_REJECTED',
      cause: { code: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY' }
    })
  })

  it('gets a whole handshake each time: no session is resumed that was judged before', async () => {
    const leaf = await issue('leaf', { issuer: intermediate, notAfter: NOW + DAY })
    await using server = await tlsServer({ cert: bundle(leaf, intermediate), key: leaf.keyPem }, (socket) =>
      socket.write('hello')
    )
    const platform = testPlatform({ now: NOW })
    const judge = createCertificateJudge({ warningDays: 0, ca: root.pem, platform })
    const target = { host: '127.0.0.1', port: server.port, servername: 'localhost' }
    for (let n = 0; n < 3; n++) {
      const { socket } = await judge.open(target)
      // By then the tickets of TLS 1.3 have come.
      await new Promise((resolve) => socket.once('data', resolve))
      socket.destroy()
    }
    await platform.clock.advance(2 * DAY)
    await expect(judge.open(target)).rejects.toMatchObject({ detail: { reason: 'expired' } })
    expect(new Set(server.resumed)).toEqual(new Set([false]))
    // The same server does resume for whoever offers a session.
    const first = connectTls({ port: server.port, ca: [root.pem], servername: 'localhost' })
    const session = await new Promise<Buffer>((resolve) => first.once('session', resolve))
    const second = connectTls({ port: server.port, ca: [root.pem], servername: 'localhost', session })
    await new Promise((resolve) => second.once('data', resolve))
    expect(second.isSessionReused()).toBe(true)
    first.destroy()
    second.destroy()
  })

  it('fails with what Node said when nobody listens', async () => {
    const tcp = createTcp()
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
    const { port } = tcp.address() as AddressInfo
    await new Promise<void>((resolve) => tcp.close(() => resolve()))
    const judge = createCertificateJudge({ warningDays: 0 })
    await expect(judge.open({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      detail: { reason: 'ECONNREFUSED' },
      cause: { code: 'ECONNREFUSED' }
    })
  })

  it.each([
    ['says nothing', (_socket: Socket) => {}, 'ETIMEDOUT'],
    ['closes at once', (socket: Socket) => void socket.end(), 'ECONNRESET'],
    ['speaks no TLS', (socket: Socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /SSL|TLS/]
  ])('fails, typed, when the server %s', async (_what, serve, reason) => {
    const tcp = createTcp((socket) => {
      // Without being read it would not hear that the other side has gone.
      socket.on('error', () => {}).resume()
      serve(socket)
    })
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve))
    const platform = testPlatform({ now: NOW })
    const judge = createCertificateJudge({ warningDays: 0, platform, connectTimeoutMs: 1_000 })
    const opened = judge.open({ host: '127.0.0.1', port: (tcp.address() as AddressInfo).port })
    opened.catch(() => {})
    if (reason === 'ETIMEDOUT') await platform.clock.advance(1_000)
    await expect(opened).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      detail: { reason: expect.stringMatching(reason) }
    })
    expect(platform.clock.pendingTimers).toBe(0)
    await new Promise<void>((resolve) => tcp.close(() => resolve()))
  })
})

describe('the connect option of an undici agent', () => {
  it.each([
    ['valid', { notAfter: NOW + 90 * DAY }, 200],
    ['expired', { notAfter: NOW - DAY }, undefined]
  ])('with a certificate that is %s', async (_what, leafOptions, status) => {
    const leaf = await issue('leaf', { issuer: intermediate, notBefore: NOW - 100 * DAY, ...leafOptions })
    const hosts: (string | undefined)[] = []
    const server = createHttps({ cert: bundle(leaf, intermediate), key: leaf.keyPem }, (incoming, response) => {
      hosts.push(incoming.headers.host)
      response.end('hello')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const judge = createCertificateJudge({ warningDays: 0, ca: root.pem })
    const dispatcher = new Agent({ connect: judge.connect })
    const asked = request(`https://localhost:${port}/`, { dispatcher, method: 'POST', body: 'secret' })
    if (status === undefined) {
      await expect(asked).rejects.toMatchObject({ code: 'CERTIFICATE_REJECTED', cause: { code: 'CERT_HAS_EXPIRED' } })
      expect(hosts).toEqual([])
    } else {
      const { statusCode, body } = await asked
      expect([statusCode, await body.text(), hosts]).toEqual([200, 'hello', [`localhost:${port}`]])
    }
    await dispatcher.destroy()
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  })
})
