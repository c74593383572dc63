import { testPlatform } from '@enablement/core/testing'
import {
  type CertificateJudgeOptions,
  type CertificateVerdict,
  createCertificateJudge
} from '@enablement/runtime/network'
import { fc } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'
import {
  bundle,
  type Issued,
  type IssueOptions,
  issue,
  makeAuthority,
  type RawExtension,
  START_AT
} from '../fakes/certificates.ts'

const DAY = 86_400_000
/** `keyCertSign` in the flags of `@peculiar/x509`. */
const KEY_CERT_SIGN = 32
const netscapeClient: RawExtension = { id: '2.16.840.1.113730.1.1', critical: false, der: [3, 2, 7, 0x80] }
const { root, intermediate } = await makeAuthority()
const stranger = await makeAuthority('stranger')
const leaf = await issue('leaf', { issuer: intermediate })

const judgeAt = (now: number, options: Partial<CertificateJudgeOptions> = {}) =>
  createCertificateJudge({ warningDays: 0, ca: root.pem, platform: testPlatform({ now }), ...options })

const brief = (verdict: CertificateVerdict): string =>
  verdict.outcome === 'rejected'
    ? verdict.reason
    : verdict.outcome === 'warned'
      ? verdict.warnings
          .map((one) => (one.reason === 'expired' ? 'expired leaf passed' : `${one.daysLeft} days left`))
          .join(', ')
      : 'trusted'

const chainOf = async (options: IssueOptions, above: readonly Issued[] = [intermediate]): Promise<string> =>
  bundle(await issue('leaf', { issuer: intermediate, ...options }), ...above)

describe('a judge of a PEM chain', () => {
  it('trusts a chain up to a root, and says whose certificates they are and when the first expires', () => {
    expect(judgeAt(START_AT).judge(bundle(leaf, intermediate), 'localhost')).toMatchObject({
      outcome: 'trusted',
      daysLeft: 90,
      expiresAt: START_AT + 90 * DAY,
      chain: [
        { place: 'leaf', subject: 'CN=leaf' },
        { place: 'intermediate', subject: 'CN=test intermediate' },
        { place: 'root', subject: 'CN=test root' }
      ]
    })
  })

  const notAfter = START_AT + 90 * DAY
  const notBefore = START_AT - DAY
  it.each([
    ['the first instant less a millisecond', notBefore - 1, 'not-yet-valid'],
    ['the first instant', notBefore, 'trusted'],
    ['30 days before the end', notAfter - 30 * DAY, 'trusted'],
    ['30 days less a millisecond before the end', notAfter - 30 * DAY + 1, '29 days left'],
    ['29 days before the end', notAfter - 29 * DAY, '29 days left'],
    ['a day before the end', notAfter - DAY, '1 days left'],
    ['a day less a millisecond before the end', notAfter - DAY + 1, '0 days left'],
    ['a millisecond before the end', notAfter - 1, '0 days left'],
    ['the last instant', notAfter, '0 days left'],
    ['a millisecond after it', notAfter + 1, 'expired']
  ])('with 30 warning days, at %s (%d): %s... %s', (_when, now, expected) => {
    expect(brief(judgeAt(now, { warningDays: 30 }).judge(bundle(leaf, intermediate), 'localhost'))).toBe(expected)
  })

  it.each([
    [5, 6, '5 days left'],
    [5, 5, 'trusted'],
    [5, 4, 'trusted'],
    [5, 0, 'trusted'],
    [0, 1, '0 days left']
  ])('with exactly %d days left and %d warning days: %s... %s', async (daysLeft, warningDays, expected) => {
    const verdict = judgeAt(notAfter - daysLeft * DAY, { warningDays }).judge(bundle(leaf, intermediate), 'localhost')
    expect(brief(verdict)).toBe(expected)
  })

  it('says in the warning how many days are left', () => {
    const verdict = judgeAt(notAfter - 3 * DAY, { warningDays: 14 }).judge(bundle(leaf, intermediate), 'localhost')
    expect(verdict).toMatchObject({
      warnings: [
        { daysLeft: 3, message: 'the leaf certificate CN=leaf expires in 3 whole days, at 2026-04-01T00:00:00.000Z' }
      ]
    })
  })

  it.each([
    [299_999, 'trusted'],
    [300_000, 'trusted'],
    [300_001, 'not-yet-valid']
  ])('takes a certificate that begins in %d ms for %s under a skew of 5 minutes', (aheadMs, expected) => {
    const judge = judgeAt(notBefore - aheadMs, { notBeforeSkewMs: 300_000 })
    expect(brief(judge.judge(bundle(leaf, intermediate), 'localhost'))).toBe(expected)
  })

  it('lets an expired leaf pass when it may, with a warning that says since when', () => {
    const verdict = judgeAt(notAfter + 2 * DAY + 1, { allowExpired: true }).judge(
      bundle(leaf, intermediate),
      'localhost'
    )
    expect(verdict).toMatchObject({ outcome: 'warned', daysLeft: -3, warnings: [{ reason: 'expired', daysPast: 2 }] })
  })

  describe.each([false, true])('with allowExpired %s', (allowExpired) => {
    const judge = judgeAt(START_AT, { allowExpired })
    const past = { notBefore: START_AT - 10 * DAY, notAfter: START_AT - DAY }

    it.each<[string, string, () => Promise<string>]>([
      ['an expired leaf', allowExpired ? 'expired leaf passed' : 'expired', () => chainOf(past)],
      ['a leaf of tomorrow', 'not-yet-valid', () => chainOf({ notBefore: START_AT + DAY })],
      [
        'an expired leaf for another host',
        allowExpired ? 'host-mismatch' : 'expired',
        () => chainOf({ ...past, hosts: ['other.example'] })
      ],
      ['a leaf for another host', 'host-mismatch', () => chainOf({ hosts: ['other.example'] })],
      ['an expired self-signed leaf', 'untrusted', async () => bundle(await issue('leaf', past))],
      ['a self-signed leaf', 'untrusted', async () => bundle(await issue('leaf'))],
      [
        'an expired leaf of a stranger',
        'untrusted',
        () => chainOf({ ...past, issuer: stranger.intermediate }, [stranger.intermediate, stranger.root])
      ],
      ['an expired leaf without its intermediate', 'untrusted', () => chainOf(past, [])],
      [
        'an expired leaf with a forged signature',
        'untrusted',
        () => chainOf({ ...past, forgedWith: stranger.intermediate })
      ],
      ['a leaf with a forged signature', 'untrusted', () => chainOf({ forgedWith: stranger.intermediate })],
      [
        'an expired leaf below an expired intermediate',
        'expired',
        async () => {
          const old = await issue('old intermediate', { ...past, authority: true, issuer: root })
          return chainOf({ ...past, issuer: old }, [old])
        }
      ],
      [
        'a good leaf below an expired intermediate',
        'expired',
        async () => {
          const old = await issue('old intermediate', { ...past, authority: true, issuer: root })
          return chainOf({ issuer: old }, [old])
        }
      ],
      [
        'an expired leaf signed by a leaf',
        'untrusted',
        async () => chainOf({ ...past, issuer: leaf }, [leaf, intermediate])
      ],
      [
        'an expired leaf below one that says it signs, and is no authority',
        'untrusted',
        async () => {
          const pretender = await issue('pretender', { usages: KEY_CERT_SIGN, issuer: root })
          return await chainOf({ ...past, issuer: pretender }, [pretender])
        }
      ],
      [
        'an expired leaf that Netscape’s type keeps for clients',
        'untrusted',
        () => chainOf({ ...past, extensions: [netscapeClient] })
      ],
      [
        'an expired leaf below an authority that may not sign',
        'untrusted',
        async () => {
          const mute = await issue('mute', { authority: true, usages: 2, issuer: root })
          return chainOf({ ...past, issuer: mute }, [mute])
        }
      ],
      [
        'an expired leaf below more authorities than the path length allows',
        'untrusted',
        async () => {
          const upper = await issue('upper', { authority: true, pathLength: 0, issuer: root })
          const lower = await issue('lower', { authority: true, issuer: upper })
          return chainOf({ ...past, issuer: lower }, [lower, upper])
        }
      ],
      [
        'an expired leaf that is not for servers',
        'untrusted',
        () => chainOf({ ...past, purposes: ['1.3.6.1.5.5.7.3.2'] })
      ],
      ['a leaf whose key may not be used by servers', 'untrusted', () => chainOf({ ...past, usages: 2 })],
      [
        'an expired leaf with a critical extension that nobody knows',
        'untrusted',
        () => chainOf({ ...past, extensions: [{ id: '1.2.3.4', critical: true, der: [5, 0] }] })
      ],
      ['an RSA key of 1,024 bits', 'weak', () => chainOf({ key: 'rsa-1024' })],
      ['an expired leaf with an RSA key of 1,024 bits', 'weak', () => chainOf({ ...past, key: 'rsa-1024' })],
      ['a key on a curve of 224 bits', 'weak', () => chainOf({ key: 'secp224r1' })],
      ['a signature with SHA-1', 'weak', () => chainOf({ hash: 'SHA-1' })],
      ['an RSA key of 2,048 bits', 'trusted', () => chainOf({ key: 'rsa-2048' })],
      ['an Ed25519 key', 'trusted', () => chainOf({ key: 'ed25519' })],
      ['nothing', 'malformed', async () => ''],
      ['a block of garbage', 'malformed', async () => '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'],
      ['a key in place of a certificate', 'malformed', async () => leaf.keyPem]
    ])('%s is %s', async (_what, expected, make) => {
      expect(brief(judge.judge(await make(), 'localhost'))).toBe(expected)
    })
  })

  it('never waives an expired root, nor any above the leaf', async () => {
    const oldRoot = await issue('old root', { authority: true, notAfter: START_AT - 1 })
    const below = await issue('leaf', { issuer: oldRoot, notAfter: START_AT - 1 })
    const judge = judgeAt(START_AT, { ca: oldRoot.pem, allowExpired: true })
    expect(judge.judge(bundle(below), 'localhost')).toMatchObject({ reason: 'expired', certificate: { place: 'root' } })
  })

  it('warns of the whole chain: of an intermediate that expires before the leaf', async () => {
    const soon = await issue('soon', { authority: true, issuer: root, notAfter: START_AT + 5 * DAY })
    const verdict = judgeAt(START_AT, { warningDays: 30 }).judge(
      bundle(await issue('leaf', { issuer: soon }), soon),
      'localhost'
    )
    expect(verdict).toMatchObject({
      outcome: 'warned',
      daysLeft: 5,
      warnings: [{ daysLeft: 5, certificate: { place: 'intermediate', subject: 'CN=soon' } }]
    })
  })

  it('takes the path that is good when an expired cross-signature offers another', async () => {
    const crossed = await issue('test intermediate', { authority: true, issuer: root, notAfter: START_AT - DAY })
    const verdict = judgeAt(START_AT).judge(bundle(leaf, crossed, intermediate), 'localhost')
    expect(brief(verdict)).toBe('trusted')
  })

  it('trusts a self-signed certificate that was given as a root, for its hosts alone', async () => {
    const own = await issue('own', { hosts: ['localhost', '10.1.2.3'] })
    const judge = judgeAt(START_AT, { ca: own.pem })
    expect(['localhost', '10.1.2.3', '[::1]', 'other'].map((host) => brief(judge.judge(own.pem, host)))).toEqual([
      'trusted',
      'trusted',
      'host-mismatch',
      'host-mismatch'
    ])
  })

  describe('under name constraints', () => {
    /** NameConstraints in DER: one subtree, permitted (0xa0) or excluded (0xa1), of a name of `kind`. */
    const constraint = (list: number, kind: number, name: readonly number[]): RawExtension => {
      const general = [kind, name.length, ...name]
      const subtree = [0x30, general.length, ...general]
      const subtrees = [list, subtree.length, ...subtree]
      return { id: '2.5.29.30', critical: true, der: [0x30, subtrees.length, ...subtrees] }
    }
    const dns = (name: string): readonly number[] => [...Buffer.from(name)]

    it.each<[string, RawExtension, readonly string[], string, string]>([
      ['a permitted domain', constraint(0xa0, 0x82, dns('example.com')), ['a.example.com'], 'a.example.com', 'trusted'],
      ['the domain itself', constraint(0xa0, 0x82, dns('example.com')), ['example.com'], 'example.com', 'trusted'],
      [
        'one that only ends like it',
        constraint(0xa0, 0x82, dns('example.com')),
        ['badexample.com'],
        'badexample.com',
        'untrusted'
      ],
      [
        'another',
        constraint(0xa0, 0x82, dns('example.com')),
        ['a.example.com', 'evil.test'],
        'a.example.com',
        'untrusted'
      ],
      [
        'a wildcard over the permitted domain',
        constraint(0xa0, 0x82, dns('example.com')),
        ['*.com'],
        'example.com',
        'untrusted'
      ],
      ['an excluded domain', constraint(0xa1, 0x82, dns('evil.test')), ['a.evil.test'], 'a.evil.test', 'untrusted'],
      [
        'a wildcard that reaches an excluded host',
        constraint(0xa1, 0x82, dns('x.evil.test')),
        ['*.evil.test'],
        'x.evil.test',
        'untrusted'
      ],
      ['a permitted network', constraint(0xa0, 0x87, [10, 0, 0, 0, 255, 0, 0, 0]), ['10.9.9.9'], '10.9.9.9', 'trusted'],
      ['another network', constraint(0xa0, 0x87, [10, 0, 0, 0, 255, 0, 0, 0]), ['11.9.9.9'], '11.9.9.9', 'untrusted'],
      [
        'no addresses at all, which a host name does not mind',
        constraint(0xa1, 0x87, [0, 0, 0, 0, 0, 0, 0, 0]),
        ['localhost'],
        'localhost',
        'trusted'
      ],
      ['no addresses at all', constraint(0xa1, 0x87, [0, 0, 0, 0, 0, 0, 0, 0]), ['10.9.9.9'], '10.9.9.9', 'untrusted']
    ])('%s', async (_what, extension, hosts, host, expected) => {
      const bound = await issue('bound', { authority: true, issuer: root, extensions: [extension] })
      expect(brief(judgeAt(START_AT).judge(await chainOf({ issuer: bound, hosts }, [bound]), host))).toBe(expected)
    })
  })

  it('never throws and never trusts, whatever byte of a chain is changed', async () => {
    const der = Buffer.from(leaf.pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
    const judge = judgeAt(START_AT, { allowExpired: true })
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const bytes = Buffer.from(der)
        bytes[at] = (bytes[at] as number) ^ flip
        const pem = `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64')}\n-----END CERTIFICATE-----\n`
        return judge.judge(`${pem}${intermediate.pem}`, 'localhost').outcome === 'rejected'
      }),
      { numRuns: 200 }
    )
  })

  it.each<[string, Record<string, unknown>]>([
    ['warningDays', { warningDays: -1 }],
    ['notBeforeSkewMs', { notBeforeSkewMs: 300_001 }],
    ['ca', { ca: 'no certificate' }],
    ['rejectUnauthorized', { rejectUnauthorized: false }]
  ])('refuses a wrong %s', (option, overrides) => {
    expect(() => judgeAt(START_AT, overrides)).toThrow(new RegExp(option))
  })
})
