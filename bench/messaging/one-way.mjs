// One-way traffic in an established session: 1 KB sealed by one side and opened by the other, each keeping its state in
// a store at every message, against `signalEncrypt` and `signalDecrypt` with their records serialised into a Map at
// every save and deserialised at every load, which is what that library's store interface asks of an application.
//
// `one-way-1k` is the same work: our published ratchet, its record serialised into a Map after every step. It keeps the
// decoded state at hand, as a messenger does, and would read the record back only after a restart.
// `one-way-1k-messenger` is the whole messenger against the same: `send` commits session and outbox, the in-process
// transport carries the envelope, the other side commits session and inbox, hands the message over and has it
// acknowledged. The peer has no counterpart for any of that, so there it stands for the least an application could do.

import { createIdentity, createMessenger } from '@enablement/messaging'
import { cryptoProvider } from '@enablement/messaging/crypto/node'
import { inProcessDirectory, inProcessTransport, memoryMessageStore } from '@enablement/messaging/memory'
import {
  encodeRatchet,
  initiatorState,
  open,
  responderState,
  seal,
  suiteOneProfile,
  wipeReplaced
} from '@enablement/messaging/ratchet'

const MESSAGE_BYTES = 1_024
const BATCH = 200
const ROUNDS = 25

export async function rows() {
  const plaintext = new Uint8Array(MESSAGE_BYTES).fill(7)
  const runners = [await ratchetPair(), await messengerPair(), await libsignalPair()]
  const times = runners.map(() => [])
  // The first rounds warm up and are not counted.
  for (let round = -4; round < ROUNDS; round += 1) {
    for (const [at, run] of runners.entries()) {
      const each = await run(plaintext, BATCH)
      if (round >= 0) times[at].push(each)
    }
  }
  const [ratchet, messenger, libsignal] = times.map(median)
  const row = (id, ours) => ({
    id,
    ours: round1(ours),
    peer: '@signalapp/libsignal-client',
    theirs: round1(libsignal),
    unit: 'µs',
    ratio: round1(libsignal / ours)
  })
  return [row('one-way-1k', ratchet), row('one-way-1k-messenger', messenger)]
}

/** Two ends of a ratchet, each with a Map as its store. */
async function ratchetPair() {
  const sessionId = cryptoProvider.random(32)
  const secret = cryptoProvider.random(32)
  const prekey = await cryptoProvider.generateAgreementKey()
  const peerKey = await cryptoProvider.importPeerKey(prekey.publicKey)
  const context = new Uint8Array(19)
  const end = (state) => ({ state, store: new Map() })
  const alice = end(initiatorState(sessionId, secret.slice(), peerKey))
  const bob = end(responderState(sessionId, secret.slice(), prekey))

  const persist = async (side, state) => {
    side.store.set('peer', await encodeRatchet(state, cryptoProvider))
    wipeReplaced(side.state, state)
    side.state = state
  }
  const carry = async (from, to, plaintext) => {
    const sealed = await seal(from.state, { plaintext, context }, cryptoProvider, suiteOneProfile)
    await persist(from, sealed.state)
    const { head, ciphertext } = sealed.output
    const message = new Uint8Array(head.length + ciphertext.length)
    message.set(head)
    message.set(ciphertext, head.length)
    const opened = await open(to.state, { message, context, now: Date.now() }, cryptoProvider, suiteOneProfile)
    if (opened.outcome !== 'opened') throw new Error(`a message was ${opened.outcome}`)
    await persist(to, opened.state)
    return opened.plaintext
  }
  await carry(alice, bob, new Uint8Array(1))
  await carry(bob, alice, new Uint8Array(1))

  return async (plaintext, count) => {
    const startedAt = process.hrtime.bigint()
    for (let sent = 0; sent < count; sent += 1) await carry(alice, bob, plaintext)
    return microsecondsEach(startedAt, count)
  }
}

/** Two messengers; gives a function that sends `count` messages one way and returns the microseconds for each. */
async function messengerPair() {
  const directory = inProcessDirectory()
  const transport = inProcessTransport()
  const open = async (address) =>
    await createMessenger({
      address,
      identity: await createIdentity(),
      store: memoryMessageStore(),
      directory,
      transport,
      trust: () => true
    })
  const [alice, bob] = [await open('alice#1'), await open('bob#1')]
  await alice.publishPrekeys()
  await bob.publishPrekeys()
  let handled = 0
  let onHandled
  bob.receive(async (message) => {
    await message.ack()
    handled += 1
    onHandled?.()
  })
  // One message each way, so that the session is established and no handshake is measured.
  await alice.send('bob#1', new Uint8Array(1))
  await bob.send('alice#1', new Uint8Array(1))

  return async (plaintext, count) => {
    handled = 0
    const allHandled = new Promise((resolve) => {
      onHandled = () => handled === count && resolve()
    })
    const startedAt = process.hrtime.bigint()
    for (let sent = 0; sent < count; sent += 1) {
      const { outcome } = await alice.send('bob#1', plaintext)
      if (outcome !== 'delivered') throw new Error(`a message was ${outcome}`)
    }
    await allHandled
    return microsecondsEach(startedAt, count)
  }
}

/** The same with libsignal: its interfaces, a Map behind each. */
async function libsignalPair() {
  const signal = await import('@signalapp/libsignal-client')
  const [alice, bob] = [signalParty(signal, 'alice'), signalParty(signal, 'bob')]

  const oneTime = signal.PrivateKey.generate()
  const signed = signal.PrivateKey.generate()
  const kem = signal.KEMKeyPair.generate()
  const signature = bob.identity.sign(signed.getPublicKey().serialize())
  const kemSignature = bob.identity.sign(kem.getPublicKey().serialize())
  await bob.prekeys.savePreKey(1, signal.PreKeyRecord.new(1, oneTime.getPublicKey(), oneTime))
  await bob.signedPrekeys.saveSignedPreKey(
    2,
    signal.SignedPreKeyRecord.new(2, Date.now(), signed.getPublicKey(), signed, signature)
  )
  await bob.kyberPrekeys.saveKyberPreKey(3, signal.KyberPreKeyRecord.new(3, Date.now(), kem, kemSignature))
  const bundle = signal.PreKeyBundle.new(
    bob.registrationId,
    1,
    1,
    oneTime.getPublicKey(),
    2,
    signed.getPublicKey(),
    signature,
    bob.identity.getPublicKey(),
    3,
    kem.getPublicKey(),
    kemSignature
  )
  await signal.processPreKeyBundle(bundle, bob.address, alice.address, alice.sessions, alice.identities)
  const first = await signal.signalEncrypt(
    new Uint8Array(1),
    bob.address,
    alice.address,
    alice.sessions,
    alice.identities
  )
  await signal.signalDecryptPreKey(
    signal.PreKeySignalMessage.deserialize(first.serialize()),
    alice.address,
    bob.address,
    bob.sessions,
    bob.identities,
    bob.prekeys,
    bob.signedPrekeys,
    bob.kyberPrekeys
  )
  const carry = async (from, to, plaintext) => {
    const sealed = await signal.signalEncrypt(plaintext, to.address, from.address, from.sessions, from.identities)
    const message = signal.SignalMessage.deserialize(sealed.serialize())
    return await signal.signalDecrypt(message, from.address, to.address, to.sessions, to.identities)
  }
  await carry(bob, alice, new Uint8Array(1))

  return async (plaintext, count) => {
    const startedAt = process.hrtime.bigint()
    for (let sent = 0; sent < count; sent += 1) {
      const opened = await carry(alice, bob, plaintext)
      if (opened.length !== plaintext.length) throw new Error('a message came out with another length')
    }
    return microsecondsEach(startedAt, count)
  }
}

function signalParty(signal, name) {
  const identity = signal.PrivateKey.generate()
  const registrationId = 1 + name.length
  const keyOf = (address) => `${address.name()}.${address.deviceId()}`

  class Sessions extends signal.SessionStore {
    #records = new Map()
    async saveSession(address, record) {
      this.#records.set(keyOf(address), record.serialize())
    }
    async getSession(address) {
      const record = this.#records.get(keyOf(address))
      return record === undefined ? null : signal.SessionRecord.deserialize(record)
    }
    async getExistingSessions(addresses) {
      return addresses.map((address) => signal.SessionRecord.deserialize(this.#records.get(keyOf(address))))
    }
  }

  class Identities extends signal.IdentityKeyStore {
    #known = new Map()
    async getIdentityKey() {
      return identity
    }
    async getLocalRegistrationId() {
      return registrationId
    }
    async saveIdentity(address, key) {
      this.#known.set(keyOf(address), key.serialize())
      return signal.IdentityChange.NewOrUnchanged
    }
    async isTrustedIdentity() {
      return true
    }
    async getIdentity(address) {
      const key = this.#known.get(keyOf(address))
      return key === undefined ? null : signal.PublicKey.deserialize(key)
    }
  }

  class Prekeys extends signal.PreKeyStore {
    #records = new Map()
    async savePreKey(id, record) {
      this.#records.set(id, record.serialize())
    }
    async getPreKey(id) {
      return signal.PreKeyRecord.deserialize(this.#records.get(id))
    }
    async removePreKey(id) {
      this.#records.delete(id)
    }
  }

  class SignedPrekeys extends signal.SignedPreKeyStore {
    #records = new Map()
    async saveSignedPreKey(id, record) {
      this.#records.set(id, record.serialize())
    }
    async getSignedPreKey(id) {
      return signal.SignedPreKeyRecord.deserialize(this.#records.get(id))
    }
  }

  class KyberPrekeys extends signal.KyberPreKeyStore {
    #records = new Map()
    async saveKyberPreKey(id, record) {
      this.#records.set(id, record.serialize())
    }
    async getKyberPreKey(id) {
      return signal.KyberPreKeyRecord.deserialize(this.#records.get(id))
    }
    async markKyberPreKeyUsed() {}
  }

  return {
    identity,
    registrationId,
    address: signal.ProtocolAddress.new(name, 1),
    sessions: new Sessions(),
    identities: new Identities(),
    prekeys: new Prekeys(),
    signedPrekeys: new SignedPrekeys(),
    kyberPrekeys: new KyberPrekeys()
  }
}

function microsecondsEach(startedAt, count) {
  return Number(process.hrtime.bigint() - startedAt) / 1_000 / count
}

function median(values) {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[sorted.length >> 1]
}

function round1(value) {
  return Math.round(value * 10) / 10
}
