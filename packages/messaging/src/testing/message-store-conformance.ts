import assert from 'node:assert/strict'
import type { ConformanceKit } from '@enablement/core/testing'
import type { InboxEntry, MessageStore, OutboxEntry, PrekeyRecord } from '../store/message-store.ts'

/** A fresh message store under examination. */
export interface MessageStoreSubject extends AsyncDisposable {
  readonly store: MessageStore
  /** An owner of whom the store knows nothing, so that subjects may share a server. */
  readonly owner: string
}

/** Makes a subject. */
export type CreateMessageStore = () => Promise<MessageStoreSubject>

const NOW = Date.UTC(2026, 0, 1)
const bytes = (...values: readonly number[]): Uint8Array => Uint8Array.from(values)

const prekey = (kind: PrekeyRecord['kind'], id: number): PrekeyRecord => ({
  kind,
  id,
  secret: bytes(id, 1, 2),
  createdAt: NOW,
  publishedAt: NOW
})

const sent = (id: string, more: Partial<OutboxEntry> = {}): OutboxEntry => ({
  id,
  peer: 'bob',
  idempotencyKey: undefined,
  digest: undefined,
  envelope: bytes(1, 2, 3),
  status: 'queued',
  queuedAt: NOW,
  expiresAt: NOW + 1_000,
  ...more
})

const arrived = (id: string, peer = 'bob'): InboxEntry => ({ id, peer, plaintext: bytes(9, 9), receivedAt: NOW })

const stock = { nextId: 3, added: [], forgottenSignedIds: [], forgetOneTimeBelow: 0 }

function exam(body: (subject: MessageStoreSubject) => Promise<void>): (create: CreateMessageStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    await body(subject)
  }
}

/** The exam of the message store port. The memory store is the model; every durable store passes the same cases. */
export const messageStoreConformance: ConformanceKit<CreateMessageStore, never> = {
  name: 'MessageStore',
  needs: [],
  cases: [
    {
      name: 'a session record goes in at its expected version and comes out one higher',
      run: exam(async ({ store, owner }) => {
        assert.equal(await store.loadSession(owner, 'bob'), undefined)
        for (const expectedVersion of [0, 1, 2]) {
          const session = { peer: 'bob', record: bytes(expectedVersion), expectedVersion }
          assert.deepEqual(await store.commit(owner, { session }), { outcome: 'committed' })
          const found = await store.loadSession(owner, 'bob')
          assert.deepEqual(found, { version: expectedVersion + 1, record: bytes(expectedVersion) })
        }
      })
    },
    {
      name: 'of two commits that expect the same version one takes effect',
      run: exam(async ({ store, owner }) => {
        for (const expectedVersion of [0, 1]) {
          const outcomes = await Promise.all(
            [1, 2].map((record) =>
              store.commit(owner, { session: { peer: 'bob', record: bytes(record), expectedVersion } })
            )
          )
          assert.deepEqual(outcomes.map(({ outcome }) => outcome).sort(), ['committed', 'conflict'])
        }
        assert.equal((await store.loadSession(owner, 'bob'))?.version, 2)
      })
    },
    {
      name: 'a conflict in any part leaves every part as it was',
      run: exam(async ({ store, owner }) => {
        const usedBaseKey = { signedPrekeyId: 0, baseKey: bytes(5) }
        const first = {
          session: { peer: 'bob', record: bytes(1), expectedVersion: 0 },
          outbox: sent('out', { idempotencyKey: 'key' }),
          inbox: arrived('in'),
          usedBaseKey,
          prekeys: { ...stock, expectedVersion: 0, added: [prekey('one-time', 0), prekey('one-time', 1)] }
        }
        assert.deepEqual(await store.commit(owner, first), { outcome: 'committed' })
        const good = {
          session: { peer: 'bob', record: bytes(2), expectedVersion: 1 },
          outbox: sent('out 2', { idempotencyKey: 'key 2' }),
          inbox: arrived('in 2'),
          usedOneTimePrekeyId: 0,
          usedBaseKey: { signedPrekeyId: 0, baseKey: bytes(6) },
          prekeys: { ...stock, expectedVersion: 1, added: [prekey('one-time', 2)] }
        }
        const spoiled = [
          { session: { ...good.session, expectedVersion: 0 } },
          { session: { ...good.session, expectedVersion: 7 } },
          { outbox: sent('out') },
          { outbox: sent('out 2', { idempotencyKey: 'key' }) },
          { inbox: arrived('in') },
          { usedOneTimePrekeyId: 2 },
          { usedBaseKey },
          { prekeys: { ...good.prekeys, expectedVersion: 0 } }
        ]
        for (const part of spoiled) {
          assert.deepEqual(await store.commit(owner, { ...good, ...part }), { outcome: 'conflict' })
        }
        assert.deepEqual(await store.loadSession(owner, 'bob'), { version: 1, record: bytes(1) })
        assert.deepEqual(await store.countWaiting(owner), { queued: 1, unacknowledged: 1 })
        assert.notEqual(await store.loadPrekey(owner, 'one-time', 0), undefined)
        assert.equal((await store.loadPrekeyStock(owner)).version, 1)
        assert.deepEqual(await store.loadBaseKeys(owner, 0, bytes(6)), { used: false, count: 1 })
        assert.deepEqual(await store.commit(owner, good), { outcome: 'committed' })
        assert.equal(await store.loadPrekey(owner, 'one-time', 0), undefined)
      })
    },
    {
      name: 'a one-time prekey is used by one commit, under any race',
      run: exam(async ({ store, owner }) => {
        await store.commit(owner, { prekeys: { ...stock, expectedVersion: 0, added: [prekey('one-time', 0)] } })
        const outcomes = await Promise.all(
          ['bob', 'carol', 'dave'].map((peer) =>
            store.commit(owner, {
              session: { peer, record: bytes(1), expectedVersion: 0 },
              usedOneTimePrekeyId: 0
            })
          )
        )
        assert.equal(outcomes.filter(({ outcome }) => outcome === 'committed').length, 1)
      })
    },
    {
      name: 'prekeys keep their secrets and dates, zero is a number, and forgotten ones are gone with their base keys',
      run: exam(async ({ store, owner }) => {
        const empty = { version: 0, nextId: 0, signed: [], oneTimeCount: 0 }
        assert.deepEqual(await store.loadPrekeyStock(owner), empty)
        const added = [prekey('signed', 0), prekey('one-time', 1), prekey('one-time', 2)]
        const republished = { id: 0, at: NOW + 5 }
        await store.commit(owner, {
          usedBaseKey: { signedPrekeyId: 0, baseKey: bytes(1) },
          prekeys: { ...stock, expectedVersion: 0, added, republished }
        })
        assert.deepEqual(await store.loadPrekey(owner, 'one-time', 1), prekey('one-time', 1))
        assert.deepEqual(await store.loadPrekey(owner, 'signed', 0), { ...prekey('signed', 0), publishedAt: NOW + 5 })
        assert.equal(await store.loadPrekey(owner, 'signed', 1), undefined)
        const { signed, nextId, oneTimeCount } = await store.loadPrekeyStock(owner)
        assert.deepEqual([signed.map(({ id }) => id), nextId, oneTimeCount], [[0], 3, 2])
        await store.commit(owner, {
          prekeys: {
            ...stock,
            nextId: 4,
            expectedVersion: 1,
            added: [prekey('signed', 3)],
            forgottenSignedIds: [0],
            forgetOneTimeBelow: 2
          }
        })
        const later = await store.loadPrekeyStock(owner)
        assert.deepEqual([later.signed.map(({ id }) => id), later.nextId, later.oneTimeCount], [[3], 4, 1])
        assert.deepEqual(await store.loadBaseKeys(owner, 0, bytes(1)), { used: false, count: 0 })
      })
    },
    {
      name: 'queued messages come out in the order of their commits until they are settled',
      run: exam(async ({ store, owner }) => {
        for (const id of ['b', 'a', 'c']) await store.commit(owner, { outbox: sent(id) })
        await store.commit(owner, { outbox: sent('d', { peer: 'carol' }) })
        const ids = async (peer: string, limit: number): Promise<string> =>
          (await store.loadQueued(owner, peer, { limit })).map(({ id }) => id).join('')
        assert.deepEqual(await store.loadQueued(owner, 'bob', { limit: 1 }), [sent('b')])
        assert.deepEqual([...(await store.loadQueuedPeers(owner))].sort(), ['bob', 'carol'])
        assert.equal(await ids('bob', 9), 'bac')
        assert.equal(await ids('bob', 2), 'ba')
        assert.equal(await store.settle(owner, 'a', 'delivered'), true)
        assert.equal(await store.settle(owner, 'a', 'delivered'), false)
        assert.equal(await ids('bob', 9), 'bc')
        assert.equal(await ids('carol', 9), 'd')
        assert.equal((await store.countWaiting(owner)).queued, 3)
      })
    },
    {
      name: 'a message with an idempotency key is remembered without its envelope until it is due',
      run: exam(async ({ store, owner }) => {
        const entry = sent('a', { idempotencyKey: 'key', digest: bytes(4, 4) })
        await store.commit(owner, { outbox: entry })
        assert.deepEqual(await store.loadSent(owner, 'key'), entry)
        await store.settle(owner, 'a', 'rejected')
        const settled = { ...entry, status: 'rejected', envelope: new Uint8Array(0) }
        assert.deepEqual(await store.loadSent(owner, 'key'), settled)
        assert.deepEqual(await store.expire(owner, { now: NOW + 999, limit: 9 }), { expired: [], forgotten: 0 })
        assert.deepEqual(await store.expire(owner, { now: NOW + 1_000, limit: 9 }), { expired: [], forgotten: 1 })
        assert.equal(await store.loadSent(owner, 'key'), undefined)
      })
    },
    {
      name: 'queued messages that are due are ended, and named',
      run: exam(async ({ store, owner }) => {
        await store.commit(owner, { outbox: sent('a') })
        await store.commit(owner, { outbox: sent('b', { expiresAt: NOW + 5_000 }) })
        const { expired } = await store.expire(owner, { now: NOW + 1_000, limit: 9 })
        assert.deepEqual(expired, [{ id: 'a', peer: 'bob' }])
        assert.deepEqual(await store.countWaiting(owner), { queued: 1, unacknowledged: 0 })
      })
    },
    {
      name: 'received messages come out per peer in the order of their commits until they are acknowledged',
      run: exam(async ({ store, owner }) => {
        for (const id of ['b', 'a']) await store.commit(owner, { inbox: arrived(id) })
        await store.commit(owner, { inbox: arrived('c', 'carol') })
        assert.deepEqual([...(await store.loadWaitingPeers(owner))].sort(), ['bob', 'carol'])
        assert.deepEqual(await store.loadUnacknowledged(owner, 'bob', { limit: 9 }), [arrived('b'), arrived('a')])
        assert.deepEqual(await store.loadUnacknowledged(owner, 'bob', { limit: 1 }), [arrived('b')])
        assert.equal(await store.acknowledge(owner, 'b'), true)
        assert.equal(await store.acknowledge(owner, 'b'), false)
        assert.deepEqual(await store.loadUnacknowledged(owner, 'bob', { limit: 9 }), [arrived('a')])
      })
    },
    {
      name: 'owners share nothing',
      run: exam(async ({ store, owner }) => {
        const other = `${owner} and another`
        await store.commit(owner, {
          session: { peer: 'bob', record: bytes(1), expectedVersion: 0 },
          outbox: sent('a', { idempotencyKey: 'key' }),
          inbox: arrived('a'),
          prekeys: { ...stock, expectedVersion: 0, added: [prekey('one-time', 0)] }
        })
        assert.equal(await store.loadSession(other, 'bob'), undefined)
        assert.equal(await store.loadSent(other, 'key'), undefined)
        assert.equal(await store.loadPrekey(other, 'one-time', 0), undefined)
        assert.deepEqual(await store.countWaiting(other), { queued: 0, unacknowledged: 0 })
        assert.equal(await store.acknowledge(other, 'a'), false)
      })
    },
    {
      name: 'bytes that went in or came out are nobody else’s: changing them changes nothing',
      run: exam(async ({ store, owner }) => {
        const record = bytes(1, 2)
        await store.commit(owner, { session: { peer: 'bob', record, expectedVersion: 0 } })
        record.fill(0)
        const found = await store.loadSession(owner, 'bob')
        assert.deepEqual(found?.record, bytes(1, 2))
        found?.record.fill(7)
        assert.deepEqual((await store.loadSession(owner, 'bob'))?.record, bytes(1, 2))
      })
    }
  ]
}
