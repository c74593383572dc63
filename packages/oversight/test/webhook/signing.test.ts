import { isSuiteError } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { createWebhookVerifier, type ReceivedWebhook } from '@enablement/oversight/webhook'
import { fc, test } from '@fast-check/vitest'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { channelTo, invitation, keyOf, signal } from './stage.ts'

const NOW = 1_767_225_600_000
const secret = keyOf(1)
const other = keyOf(2)

const signed = (body: string, at = NOW, id = 'msg-1', by = secret): ReceivedWebhook => ({
  headers: {
    'Webhook-Id': id,
    'webhook-timestamp': String(Math.floor(at / 1_000)),
    'webhook-signature': new Webhook(by).sign(id, new Date(at), body)
  },
  body
})

const verifier = (secrets = [secret], now = NOW) => createWebhookVerifier({ secrets, platform: testPlatform({ now }) })

describe('what the channel sends', () => {
  // The oracle reads the clock of the machine.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: NOW }))
  afterEach(() => void vi.useRealTimers())

  it('is verified by the reference library with each of the secrets, and by no other', async () => {
    await using stage = await channelTo({ secrets: [secret, other] })
    await stage.channel.deliver(invitation(), { signal })
    const { headers, body } = stage.endpoint.received[0] as { headers: Record<string, string>; body: string }
    for (const one of [secret, other]) expect(new Webhook(one).verify(body, headers)).toEqual(JSON.parse(body))
    expect(() => new Webhook(keyOf(3)).verify(body, headers)).toThrow('No matching signature')
    expect(() => new Webhook(secret).verify(`${body} `, headers)).toThrow('No matching signature')
    expect(verifier([other], NOW).verify({ headers, body })).toMatchObject({
      outcome: 'verified',
      id: 'invitation-1',
      sentAt: NOW,
      payload: { type: 'approval.requested', data: { invitationId: 'invitation-1' } }
    })
  })
})

describe('a verifier', () => {
  it('takes what the reference library signed', () => {
    const verified = verifier([other, secret]).verify(signed('{"type":"approval.settled","data":{}}'))
    expect(verified).toEqual({
      outcome: 'verified',
      id: 'msg-1',
      sentAt: NOW,
      payload: { type: 'approval.settled', data: {} }
    })
  })

  it('reads the headers of a fetch request, and bytes', () => {
    const { headers, body } = signed('{"type":"x"}')
    const received = {
      headers: new Headers(headers as Record<string, string>),
      body: new TextEncoder().encode(body as string)
    }
    expect(verifier().verify(received)).toMatchObject({ outcome: 'verified' })
  })

  it.each([
    [-301_000, 'too-old'],
    [-300_000, 'verified'],
    [300_000, 'verified'],
    [301_000, 'too-new']
  ])('of what was sent %i ms from now says %s, as the reference library does', (offMs, said) => {
    const received = signed('{"type":"x"}', NOW + offMs)
    const verified = verifier().verify(received)
    expect(verified.outcome === 'refused' ? verified.because : verified.outcome).toBe(said)
    vi.useFakeTimers({ toFake: ['Date'], now: NOW })
    const oracle = () => new Webhook(secret).verify(received.body as string, received.headers as Record<string, string>)
    if (said === 'verified') expect(oracle()).toEqual({ type: 'x' })
    else expect(oracle).toThrow(/too (old|new)/)
    vi.useRealTimers()
  })

  const whole = signed('{"type":"x"}')
  const headers = whole.headers as Record<string, string>
  it.each<[string, ReceivedWebhook, string]>([
    ['no headers', { headers: {}, body: '{}' }, 'headers'],
    ['an id with a dot, which would move what is signed', signed('{"type":"x"}', NOW, 'msg.1'), 'headers'],
    ['a time that is no number', { ...whole, headers: { ...headers, 'webhook-timestamp': '1e9' } }, 'headers'],
    ['a header given twice', { ...whole, headers: { ...headers, 'webhook-signature': ['v1,a', 'v1,b'] } }, 'headers'],
    [
      'signatures without end',
      { ...whole, headers: { ...headers, 'webhook-signature': 'v1,a '.repeat(1_000) } },
      'headers'
    ],
    ['another id', { ...whole, headers: { ...headers, 'Webhook-Id': 'msg-2' } }, 'signature'],
    ['another time', { ...whole, headers: { ...headers, 'webhook-timestamp': String(NOW / 1_000 + 1) } }, 'signature'],
    ['another body', { ...whole, body: '{"type":"y"}' }, 'signature'],
    ['another secret', signed('{"type":"x"}', NOW, 'msg-1', other), 'signature'],
    ['a version that is not known', { ...whole, headers: { ...headers, 'webhook-signature': 'v2,AAAA' } }, 'signature'],
    ['no signature', { ...whole, headers: { ...headers, 'webhook-signature': 'v1,' } }, 'signature'],
    ['a body without end', { ...whole, body: 'x'.repeat(262_145) }, 'too-long'],
    ['no JSON', signed('approved'), 'not-json'],
    ['JSON without a type', signed('{"data":{}}'), 'not-json']
  ])('refuses %s', (_what, received, because) => {
    expect(verifier().verify(received)).toEqual({ outcome: 'refused', because })
  })

  test.prop([fc.nat(31), fc.integer({ min: 1, max: 255 })])('refuses a signature with any byte changed', (at, by) => {
    const [version, base64] = (headers['webhook-signature'] as string).split(',') as [string, string]
    const bytes = Buffer.from(base64, 'base64')
    bytes[at] = (bytes[at] as number) ^ by
    const forged = { ...headers, 'webhook-signature': `${version},${bytes.toString('base64')}` }
    expect(verifier().verify({ headers: forged, body: whole.body })).toEqual({
      outcome: 'refused',
      because: 'signature'
    })
  })

  test.prop([fc.string(), fc.string({ unit: 'grapheme' })])(
    'agrees with the reference library on any text',
    (id, text) => {
      fc.pre(/^[^\s.]+$/.test(id))
      const received = signed(JSON.stringify({ type: text }), NOW, id)
      expect(verifier().verify(received)).toMatchObject({ outcome: 'verified', payload: { type: text } })
    }
  )

  const base64 = (bytes: number) => Buffer.alloc(bytes, 7).toString('base64')
  it.each([
    [[]],
    [['']],
    [['secret']],
    [[base64(32)]],
    [[`whsec_${base64(23)}`]],
    [[`whsec_${base64(65)}`]],
    [['whsec_not base64, though long enough to be']],
    [[`whsec_${base64(32).replace(/c=$/, 'd=')}`]],
    [Array.from({ length: 6 }, (_, at) => keyOf(at))]
  ])('is not made with malformed secrets, and does not repeat them: %j', (secrets) => {
    try {
      createWebhookVerifier({ secrets })
      expect.unreachable()
    } catch (error) {
      expect(isSuiteError(error, 'INVALID_OPTIONS')).toBe(true)
      for (const one of secrets) if (one.length > 6) expect(JSON.stringify(error) + String(error)).not.toContain(one)
    }
  })

  it.each([24, 64])('takes secrets of %i bytes', (bytes) => {
    expect(() => createWebhookVerifier({ secrets: [`whsec_${base64(bytes)}`] })).not.toThrow()
  })
})
