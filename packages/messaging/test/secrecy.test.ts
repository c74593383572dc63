import { inspect } from 'node:util'
import { exportIdentity, MessagingError } from '@enablement/messaging'
import { cryptoProvider as noble } from '@enablement/messaging/crypto/noble'
import { cryptoProvider as node } from '@enablement/messaging/crypto/node'
import { describe, expect, it } from 'vitest'
import { bytesOf, type Citizen, quiet, town } from './support/town.ts'

/** Every way in which bytes show in text. */
function renderings(secret: Uint8Array): string[] {
  const buffer = Buffer.from(secret)
  return [
    buffer.toString('hex'),
    buffer.toString('base64').slice(0, 16),
    buffer.toString('base64url').slice(0, 16),
    [...secret.subarray(0, 8)].join(','),
    [...secret.subarray(0, 8)].join(', '),
    buffer.subarray(0, 8).toString('hex').replace(/../g, '$& ').trim()
  ]
}

const shown = (value: unknown): string => {
  const texts = [inspect(value, { depth: 20, showHidden: true, maxArrayLength: null, breakLength: Infinity })]
  try {
    texts.push(JSON.stringify(value) ?? '', String(value))
  } catch {
    // What has no JSON shows nothing in it.
  }
  return texts.join('\n')
}

async function secretsOf({ identity, store, messenger }: Citizen, peer: string): Promise<Uint8Array[]> {
  const exported = await exportIdentity(identity)
  const record = (await store.loadSession(messenger.address, peer))?.record as Uint8Array
  const prekey = await store.loadPrekey(messenger.address, 'signed', 0)
  // After identity, count, two flags, length and the ratchet's version: session id, then the root key.
  const rootAt = 1 + 128 + 1 + 2 + 4 + 1 + 32
  return [exported.slice(1, 33), exported.slice(33), record.slice(rootAt, rootAt + 32), prekey?.secret as Uint8Array]
}

describe.each([noble, node])('secrets, with the $name provider', (crypto) => {
  it('show in no identity, messenger, key handle, event or error', async () => {
    const place = town()
    const alice = await place.settle('alice#1', { crypto })
    const bob = await place.settle('bob#1', { crypto })
    await alice.messenger.send('bob#1', bytesOf('a plaintext that must not show'))
    const [delivery] = place.office.sent
    if (delivery !== undefined)
      await place.office.hand({ ...delivery, envelope: delivery.envelope.map((byte) => byte ^ 1) })
    await bob.messenger.send('alice#1', bytesOf('a plaintext that must not show'))
    await quiet(place)
    const secrets = [...(await secretsOf(alice, 'bob#1')), bytesOf('a plaintext that must not show')]
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(29)

    const loadSession = alice.store.loadSession
    const thrown: unknown[] = []
    for (const length of [40, 200]) {
      const store = {
        ...alice.store,
        loadSession: async (...args: Parameters<typeof loadSession>) => {
          const stored = await loadSession(...args)
          return stored && { ...stored, record: stored.record.subarray(0, length) }
        }
      }
      const twin = await place.settle('alice#1', { identity: alice.identity, store, publish: false })
      thrown.push(await twin.messenger.send('bob#1', bytesOf('x')).catch((error: unknown) => error))
    }
    const secret = secrets[0] as Uint8Array
    for (const attempt of [
      async () => crypto.importAgreementKey(secret.subarray(1)),
      async () => crypto.importSigningKey(secret.subarray(1)),
      async () => crypto.agree(await crypto.importAgreementKey(secret), await crypto.importPeerKey(new Uint8Array(32)))
    ]) {
      thrown.push(await attempt().catch((error: unknown) => error))
    }
    for (const error of thrown) expect(error).toBeInstanceOf(MessagingError)

    const handles = [await crypto.importAgreementKey(secret), await crypto.importSigningKey(secret)]
    const visible = [
      alice.identity,
      alice.messenger,
      bob.messenger,
      alice.events,
      bob.events,
      handles,
      ...thrown,
      ...thrown.map((error) => (error as Error).cause)
    ]
    for (const value of visible) {
      const text = shown(value)
      for (const bytes of secrets) {
        for (const rendering of renderings(bytes)) expect(text).not.toContain(rendering)
      }
      expect(text).not.toContain('must not show')
    }
  }, 20_000)
})
