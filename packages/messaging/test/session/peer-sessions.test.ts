import type { Delivery, MessageStore } from '@enablement/messaging'
import { memoryMessageStore } from '@enablement/messaging/memory'
import { describe, expect, it } from 'vitest'
import { acquainted, bytesOf, quiet, sessionOf, ticking, town } from '../support/town.ts'

describe('two messengers on one store', () => {
  it('never use a message number twice', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const twin = await place.settle('alice#1', { identity: alice.identity, store: alice.store, receive: false })
    const texts = Array.from({ length: 24 }, (_, at) => `m${at}`)
    const sending = texts.map((text, at) => (at % 2 === 0 ? alice : twin).messenger.send('bob#1', bytesOf(text)))
    await ticking(place, Promise.all(sending))
    await quiet(place)
    expect(bob.heard.toSorted()).toEqual(texts.toSorted())
    const numbers = office.sent.map(({ envelope }) => new DataView(envelope.buffer).getUint32(19 + 36))
    expect(new Set(numbers).size).toBe(texts.length)
    expect([...alice.events, ...twin.events].some(({ type }) => type === 'session.contended')).toBe(true)
  })

  it('open a message that reaches both once', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const [listenerOfBob] = [office.hand]
    office.holding = true
    await alice.messenger.send('bob#1', bytesOf('once'))
    const [delivery] = office.sent as [Delivery]
    const first = listenerOfBob(delivery)
    const twin = await place.settle('bob#1', { identity: bob.identity, store: bob.store, publish: false })
    await Promise.all([first, office.hand(delivery), office.hand(delivery)])
    await quiet(place)
    expect([...bob.heard, ...twin.heard]).toEqual(['once'])
  })

  it('give up with a typed error when every commit is lost to another', async () => {
    const place = await acquainted()
    const { alice } = place
    const state = await sessionOf(alice, 'bob#1')
    const store: MessageStore = { ...alice.store, commit: async () => ({ outcome: 'conflict' }) }
    const twin = await place.settle('alice#1', { identity: alice.identity, store, publish: false })
    const sending = twin.messenger.send('bob#1', bytesOf('x')).catch((error: unknown) => error)
    expect(await ticking(place, sending)).toMatchObject({
      code: 'STORE_CONTENDED',
      detail: { record: 'session bob#1', attempts: 12 }
    })
    expect(await sessionOf(alice, 'bob#1')).toBe(state)
    expect(place.office.sent).toEqual([])
  })
})

describe('a store that fails', () => {
  it('before a commit took effect costs nothing', async () => {
    const place = await acquainted()
    const { alice, bob } = place
    const commit = alice.store.commit
    alice.store.commit = async () => {
      throw new Error('store is down')
    }
    await expect(alice.messenger.send('bob#1', bytesOf('x'))).rejects.toThrow('store is down')
    expect(place.office.sent).toEqual([])
    alice.store.commit = commit
    expect(await alice.messenger.send('bob#1', bytesOf('one'))).toMatchObject({ outcome: 'delivered' })
    await quiet(place)
    expect(bob.heard).toEqual(['one'])
  })

  it('after a commit took effect loses nothing: the same call with the same key sends what was committed', async () => {
    const place = await acquainted()
    const { alice, bob } = place
    const commit = alice.store.commit
    alice.store.commit = async (...args) => {
      await commit(...args)
      throw new Error('the reply was lost')
    }
    const send = () => alice.messenger.send('bob#1', bytesOf('one'), { idempotencyKey: 'k' })
    await expect(send()).rejects.toThrow('the reply was lost')
    alice.store.commit = commit
    expect(await send()).toMatchObject({ outcome: 'delivered' })
    expect(await alice.messenger.send('bob#1', bytesOf('two'))).toMatchObject({ outcome: 'delivered' })
    await quiet(place)
    expect(bob.heard).toEqual(['one', 'two'])
    expect(place.office.sent).toHaveLength(2)
  })

  it('after a delivery was committed hands the message over once', async () => {
    const place = await acquainted()
    const { alice, bob } = place
    const commit = bob.store.commit
    bob.store.commit = async (...args) => {
      await commit(...args)
      throw new Error('the reply was lost')
    }
    expect(await alice.messenger.send('bob#1', bytesOf('one'))).toMatchObject({ outcome: 'queued' })
    bob.store.commit = commit
    expect(await alice.messenger.send('bob#1', bytesOf('two'))).toMatchObject({ outcome: 'delivered' })
    await bob.messenger.close()
    const again = await place.settle('bob#1', { identity: bob.identity, store: bob.store, publish: false })
    await quiet(place)
    expect([...bob.heard, ...again.heard].toSorted()).toEqual(['one', 'two'])
  })
})

describe('a session record', () => {
  it('older than one that was committed is not sealed with, now or at the next try', async () => {
    const place = town()
    const store = memoryMessageStore()
    const loadSession = store.loadSession
    const alice = await place.settle('alice#1', { store })
    await place.settle('bob#1')
    await alice.messenger.send('bob#1', bytesOf('one'))
    const old = await loadSession('alice#1', 'bob#1')
    await alice.messenger.send('bob#1', bytesOf('two'))
    // Another process would have to be slower than this one for its commit to fail: that is what a rollback looks like.
    const commit = store.commit
    store.loadSession = async () => old
    store.commit = async () => ({ outcome: 'conflict' })
    const sent = place.office.sent.length
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(alice.messenger.send('bob#1', bytesOf('three'))).rejects.toMatchObject({
        code: 'STATE_ROLLED_BACK',
        detail: { peer: 'bob#1', seenVersion: 2, foundVersion: 1 }
      })
    }
    expect(place.office.sent.length).toBe(sent)
    store.loadSession = loadSession
    store.commit = commit
    expect(await alice.messenger.send('bob#1', bytesOf('three'))).toMatchObject({ outcome: 'delivered' })
  })

  it('that does not decode is a typed error, and nothing is sent', async () => {
    const place = await acquainted()
    const { alice } = place
    const loadSession = alice.store.loadSession
    const damaged: MessageStore = {
      ...alice.store,
      async loadSession(...args) {
        const stored = await loadSession(...args)
        return stored && { ...stored, record: stored.record.subarray(0, -1) }
      }
    }
    const twin = await place.settle('alice#1', { identity: alice.identity, store: damaged, publish: false })
    await expect(twin.messenger.send('bob#1', bytesOf('x'))).rejects.toMatchObject({ code: 'RECORD_DAMAGED' })
    expect(place.office.sent).toEqual([])
  })

  it('keeps 40 archived sessions, and drops the longest archived', async () => {
    const place = await acquainted()
    const { bob, office } = place
    // Every new store of Alice's is an Alice who has forgotten: she opens one more session.
    for (let round = 0; round < 43; round += 1) {
      const forgetful = await place.settle('alice#1', { identity: place.alice.identity, receive: false })
      await forgetful.messenger.send('bob#1', bytesOf(`m${round}`))
      if (round === 0) office.sent.splice(1)
      await forgetful.messenger.close()
    }
    await quiet(place)
    expect(bob.heard).toHaveLength(43)
    const record = (await bob.store.loadSession('bob#1', 'alice#1'))?.record
    expect(record?.[1 + 128]).toBe(41)
  }, 20_000)
})
