import {
  createIdentity,
  type Delivery,
  type PeerToTrust,
  type PrekeyBundle,
  type PrekeyDirectory
} from '@enablement/messaging'
import { cryptoProvider as noble } from '@enablement/messaging/crypto/noble'
import { cryptoProvider as node } from '@enablement/messaging/crypto/node'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { acquainted, bytesOf, quiet, sessionOf, town } from '../support/town.ts'

/** A directory that hands out what `change` makes of every bundle. */
function tampering(directory: PrekeyDirectory, change: (bundle: PrekeyBundle) => unknown): PrekeyDirectory {
  return {
    publish: (...args) => directory.publish(...args),
    remaining: (...args) => directory.remaining(...args),
    async claim(address) {
      const bundle = await directory.claim(address)
      return bundle && (change(bundle) as PrekeyBundle)
    }
  }
}

const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte, at) => (at === 7 ? byte ^ 1 : byte))

describe('opening a session', () => {
  it.each([
    [noble, node],
    [node, noble],
    [noble, noble]
  ] as const)(
    'works between the providers $name and $name',
    async (one, other) => {
      const place = town()
      const alice = await place.settle('alice#1', { crypto: one, publish: false })
      const bob = await place.settle('bob#1', { crypto: other, publish: false })
      await bob.messenger.publishPrekeys()
      expect(await alice.messenger.send('bob#1', bytesOf('hello'))).toMatchObject({ outcome: 'delivered' })
      expect(await bob.messenger.send('alice#1', bytesOf('hello back'))).toMatchObject({ outcome: 'delivered' })
      await quiet(place)
      expect([alice.heard, bob.heard]).toEqual([['hello back'], ['hello']])
    },
    20_000
  )

  it('uses one one-time prekey, which is gone in the commit that opens the first message', async () => {
    const place = town()
    const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
    const before = await bob.store.loadPrekeyStock('bob#1')
    const sent = await alice.messenger.send('bob#1', bytesOf('hello'))
    expect(sent).toMatchObject({ outcome: 'delivered', initiated: { oneTimePrekey: true } })
    expect((await bob.store.loadPrekeyStock('bob#1')).oneTimeCount).toBe(before.oneTimeCount - 1)
    expect(await place.directory.remaining('bob#1')).toBe(before.oneTimeCount - 1)
    const fingerprint = alice.identity.fingerprint
    expect(bob.events).toContainEqual({
      type: 'session.established',
      peer: 'alice#1',
      fingerprint,
      role: 'responder',
      oneTimePrekey: true
    })
    expect(await alice.messenger.send('bob#1', bytesOf('again'))).not.toHaveProperty('initiated')
  })

  it('works without a one-time prekey, says so on both sides, and refuses the replay of the first message', async () => {
    const place = town()
    const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
    while ((await place.directory.remaining('bob#1')) > 0) await place.directory.claim('bob#1')
    const sent = await alice.messenger.send('bob#1', bytesOf('hello'))
    expect(sent).toMatchObject({ outcome: 'delivered', initiated: { oneTimePrekey: false } })
    for (const { events } of [alice, bob]) {
      expect(events).toContainEqual(expect.objectContaining({ type: 'session.established', oneTimePrekey: false }))
    }
    const [first] = place.office.sent as [Delivery]
    expect(await place.office.hand(first)).toEqual({ outcome: 'accepted' })

    // As if the session had been archived and forgotten: what is left is the memory of the base key.
    const { store } = await place.settle('carol#1')
    const { used, count } = await bob.store.loadBaseKeys('bob#1', 0, first.envelope.slice(19 + 128, 19 + 160))
    expect({ used, count }).toEqual({ used: true, count: 1 })
    const amnesiac = await place.settle('bob#1', {
      identity: bob.identity,
      publish: false,
      store: { ...bob.store, loadSession: store.loadSession }
    })
    expect(await place.office.hand(first)).toEqual({ outcome: 'accepted' })
    await quiet(place)
    expect(amnesiac.events.at(-1)).toMatchObject({ type: 'duplicate.suppressed' })
    expect(bob.heard).toEqual(['hello'])
    expect(amnesiac.heard).toEqual([])
  })

  it('repeats its opening until the peer has answered, in case the first message was lost', async () => {
    const place = town()
    const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
    place.office.holding = true
    await alice.messenger.send('bob#1', bytesOf('lost'))
    place.office.holding = false
    await alice.messenger.send('bob#1', bytesOf('arrives'))
    await bob.messenger.send('alice#1', bytesOf('answer'))
    await alice.messenger.send('bob#1', bytesOf('arrives'))
    await quiet(place)
    expect(bob.heard).toEqual(['arrives', 'arrives'])
    const lengths = place.office.sent.filter(({ from }) => from === 'alice#1').map(({ envelope }) => envelope.length)
    expect(lengths[1]).toBeGreaterThan(lengths[2] as number)
  })

  it.each<[string, (bundle: PrekeyBundle) => unknown, string]>([
    ['of nothing', () => ({}), 'malformed'],
    ['of null', () => null, 'malformed'],
    [
      'with a one-time prekey that is not canonical',
      (bundle) => ({ ...bundle, oneTimePrekey: { id: 1, publicKey: new Uint8Array(32).fill(255) } }),
      'malformed'
    ],
    [
      'with a prekey number out of range',
      (bundle) => ({ ...bundle, signedPrekey: { ...bundle.signedPrekey, id: 2 ** 32 } }),
      'malformed'
    ],
    [
      'whose agreement key was swapped',
      (bundle) => ({ ...bundle, identity: { ...bundle.identity, agreementKey: bundle.signedPrekey.publicKey } }),
      'identity-signature'
    ],
    [
      'whose identity signature was changed',
      (bundle) => ({ ...bundle, identity: { ...bundle.identity, signature: flip(bundle.identity.signature) } }),
      'identity-signature'
    ],
    [
      'whose signed prekey was swapped',
      (bundle) => ({ ...bundle, signedPrekey: { ...bundle.signedPrekey, publicKey: bundle.identity.agreementKey } }),
      'signed-prekey-signature'
    ],
    [
      'whose signed prekey goes by another number',
      (bundle) => ({ ...bundle, signedPrekey: { ...bundle.signedPrekey, id: bundle.signedPrekey.id + 1 } }),
      'signed-prekey-signature'
    ],
    [
      'with a one-time prekey of small order',
      (bundle) => ({ ...bundle, oneTimePrekey: { id: 1, publicKey: new Uint8Array(32) } }),
      'small-order-key'
    ]
  ])('refuses a bundle %s, and nothing leaves', async (_, change, fault) => {
    const place = town()
    await place.settle('bob#1')
    const tampered = { ...place, directory: tampering(place.directory, change) }
    const { createMessenger } = await import('@enablement/messaging')
    const { memoryMessageStore } = await import('@enablement/messaging/memory')
    const alice = await createMessenger({
      address: 'alice#1',
      identity: await createIdentity(),
      store: memoryMessageStore(),
      directory: tampered.directory,
      transport: place.office,
      trust: () => true,
      platform: place.platform
    })
    expect(await alice.send('bob#1', bytesOf('hello'))).toEqual({ outcome: 'refused', reason: 'invalid-bundle', fault })
    expect(place.office.sent).toEqual([])
  })

  it('needs trust on both sides, which is awaited, asked once, and not asked of forgeries', async () => {
    const place = town()
    const asked: PeerToTrust[] = []
    const answers = new Map<string, unknown>([
      ['bob#1', false],
      ['alice#1', false]
    ])
    const trust = async (peer: PeerToTrust): Promise<boolean> => {
      asked.push(peer)
      await Promise.resolve()
      return answers.get(peer.address) as boolean
    }
    const [alice, bob] = [await place.settle('alice#1', { trust }), await place.settle('bob#1', { trust })]
    const refusal = { outcome: 'refused', reason: 'untrusted', fingerprint: bob.identity.fingerprint }
    expect(await alice.messenger.send('bob#1', bytesOf('hello'))).toEqual(refusal)
    expect(place.office.sent).toEqual([])
    answers.set('bob#1', 'yes, surely')
    expect(await alice.messenger.send('bob#1', bytesOf('hello'))).toEqual(refusal)
    answers.set('bob#1', true)
    expect(await alice.messenger.send('bob#1', bytesOf('hello'))).toMatchObject({ reason: 'rejected-by-peer' })
    expect(await sessionOf(bob, 'alice#1')).toBeUndefined()
    expect((await bob.store.loadPrekeyStock('bob#1')).oneTimeCount).toBe(100)
    answers.set('alice#1', true)
    expect(await alice.messenger.send('bob#1', bytesOf('hello again'))).toMatchObject({ outcome: 'delivered' })
    await alice.messenger.send('bob#1', bytesOf('and again'))
    expect(asked.map(({ address, direction }) => `${direction} ${address}`)).toEqual([
      ...Array.from({ length: 3 }, () => 'sending bob#1'),
      ...Array.from({ length: 2 }, () => 'receiving alice#1')
    ])
  })

  it('throws when trust does, and changes nothing', async () => {
    const place = town()
    const alice = await place.settle('alice#1', { trust: () => Promise.reject(new Error('register is down')) })
    await place.settle('bob#1')
    await expect(alice.messenger.send('bob#1', bytesOf('hello'))).rejects.toMatchObject({ code: 'TRUST_UNDECIDED' })
    expect(await sessionOf(alice, 'bob#1')).toBeUndefined()
  })

  it('with another identity for a known address asks again, naming the one before', async () => {
    const place = await acquainted()
    const asked: PeerToTrust[] = []
    const bob = await place.settle('bob#1', {
      identity: place.bob.identity,
      store: place.bob.store,
      publish: false,
      trust: (peer) => asked.push(peer) === 1
    })
    const impostor = await place.settle('alice#1')
    expect(await impostor.messenger.send('bob#1', bytesOf('new key'))).toMatchObject({ outcome: 'delivered' })
    expect(asked).toMatchObject([{ address: 'alice#1', previousFingerprint: place.alice.identity.fingerprint }])
    const another = await place.settle('alice#1')
    expect(await another.messenger.send('bob#1', bytesOf('newer key'))).toMatchObject({ reason: 'rejected-by-peer' })
    await quiet(place)
    expect(bob.heard).toEqual(['new key'])
  })
})

/** The session that an envelope names. */
const tagOf = (delivery: Delivery | undefined): string =>
  Buffer.from(delivery?.envelope.slice(3, 19) ?? []).toString('hex')

describe('an archived session', () => {
  it('becomes active again on both sides when the peer goes on in it, though its opening came late', async () => {
    // Which of the two ids is smaller is chance; both orders come up.
    for (let round = 0; round < 8; round += 1) {
      const place = town()
      const { office } = place
      const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
      office.holding = true
      await bob.messenger.send('alice#1', bytesOf('late'))
      office.holding = false
      const [late] = office.sent as [Delivery]
      await alice.messenger.send('bob#1', bytesOf('a'))
      await bob.messenger.send('alice#1', bytesOf('b'))
      expect(await office.hand(late)).toEqual({ outcome: 'accepted' })
      await alice.messenger.send('bob#1', bytesOf('a'))
      await bob.messenger.send('alice#1', bytesOf('b'))
      expect(tagOf(office.sent.at(-1))).toBe(tagOf(office.sent.at(-2)))
      await quiet(place)
      expect([alice.heard.toSorted(), bob.heard]).toEqual([
        ['b', 'b', 'late'],
        ['a', 'a']
      ])
    }
  })

  it('opens what comes late and stays archived: the peer may have lost it', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    office.holding = true
    await bob.messenger.send('alice#1', bytesOf('from before'))
    await bob.messenger.send('alice#1', bytesOf('from before too'))
    office.holding = false
    const [late, later] = office.sent.splice(0) as [Delivery, Delivery]
    const reborn = await place.settle('bob#1', { identity: bob.identity })
    await reborn.messenger.send('alice#1', bytesOf('I have lost everything'))
    for (const delivery of [later, late]) expect(await office.hand(delivery)).toEqual({ outcome: 'accepted' })
    expect(await alice.messenger.send('bob#1', bytesOf('start again'))).toMatchObject({ outcome: 'delivered' })
    await quiet(place)
    expect(reborn.heard).toEqual(['start again'])
    expect(alice.heard).toEqual(['I have lost everything', 'from before too', 'from before'])
  })
})

describe('a session of an earlier identity', () => {
  it.each([
    ['before', false],
    ['after', true]
  ] as const)('opens what is under way %s a restart, and nothing is sealed in it any more', async (_, restarts) => {
    const place = await acquainted()
    const { alice: former, office } = place
    let { bob } = place
    office.holding = true
    await bob.messenger.send('alice#1', bytesOf('while the keys were good'))
    await office.hand(office.sent.splice(0)[0] as Delivery)
    await former.messenger.send('bob#1', bytesOf('in a new chain'))
    const [answer] = office.sent.splice(0) as [Delivery]
    office.holding = false

    const alice = await place.settle('alice#1')
    await alice.messenger.send('bob#1', bytesOf('under new keys'))
    await quiet(place)
    expect(bob.heard).toEqual(['under new keys'])
    if (restarts) bob = await place.settle('bob#1', { identity: bob.identity, store: bob.store, publish: false })
    expect(await office.hand(answer)).toEqual({ outcome: 'accepted' })
    expect(await bob.messenger.send('alice#1', bytesOf('for the new keys alone'))).toMatchObject({
      outcome: 'delivered'
    })
    await quiet(place)
    expect(bob.heard.at(-1)).toBe('in a new chain')
    expect(alice.heard).toEqual(['for the new keys alone'])
    expect(tagOf(office.sent.at(-1))).not.toBe(tagOf(answer))
  })
})

describe('two sessions opened at once', () => {
  it('become the same one on both sides as soon as both openings have arrived', async () => {
    for (let round = 0; round < 6; round += 1) {
      const place = town()
      const { office } = place
      const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
      office.holding = true
      await alice.messenger.send('bob#1', bytesOf('a'))
      await bob.messenger.send('alice#1', bytesOf('b'))
      const opened = office.sent.splice(0)
      for (const delivery of opened) await office.hand(delivery)
      await alice.messenger.send('bob#1', bytesOf('a'))
      await bob.messenger.send('alice#1', bytesOf('b'))
      const crossing = office.sent.splice(0)
      expect(tagOf(crossing[0])).toBe(tagOf(crossing[1]))
      expect(tagOf(crossing[0])).toBe(opened.map(tagOf).toSorted()[0])
      for (const delivery of crossing) expect(await office.hand(delivery)).toEqual({ outcome: 'accepted' })
    }
  })

  test.prop([fc.array(fc.record({ fromAlice: fc.boolean(), cross: fc.boolean() }), { maxLength: 12 })], {
    numRuns: Math.ceil(20 * inject('scale'))
  })(
    'open every message and end as one, whichever cross',
    async (script) => {
      const place = town()
      const [alice, bob] = [await place.settle('alice#1'), await place.settle('bob#1')]
      const { office } = place
      const expected = { alice: 0, bob: 0 }
      const send = async (fromAlice: boolean): Promise<void> => {
        const [from, to] = fromAlice ? [alice, 'bob#1'] : [bob, 'alice#1']
        expected[fromAlice ? 'bob' : 'alice'] += 1
        await from.messenger.send(to, bytesOf(`${fromAlice ? 'a' : 'b'}${expected.alice + expected.bob}`))
      }
      // Both write before either reads.
      office.open = false
      await send(true)
      await send(false)
      for (const { fromAlice, cross } of script) {
        office.open = !cross
        await send(fromAlice)
      }
      office.open = true
      await alice.messenger.flush()
      await bob.messenger.flush()
      for (let turn = 0; turn < 4; turn += 1) await send(turn % 2 === 0)
      await quiet(place)
      expect([alice.heard.length, bob.heard.length]).toEqual([expected.alice, expected.bob])
      const tags = [office.sent.at(-1), office.sent.at(-2)].map((delivery) =>
        Buffer.from((delivery as Delivery).envelope.slice(3, 19)).toString('hex')
      )
      expect(tags[0]).toBe(tags[1])
    },
    600_000
  )
})
