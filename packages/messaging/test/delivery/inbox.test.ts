import type { ReceivedMessage } from '@enablement/messaging'
import { describe, expect, it } from 'vitest'
import { acquainted, bytesOf, type Citizen, quiet, type Town, textOf, town } from '../support/town.ts'

/** Bob without a receiver, so that a test can be one. */
async function waitingBob(): Promise<Town & { alice: Citizen; bob: Citizen; got: ReceivedMessage[] }> {
  const place = town()
  const alice = await place.settle('alice#1')
  const bob = await place.settle('bob#1', { receive: false })
  return { ...place, alice, bob, got: [] }
}

const texts = (messages: readonly ReceivedMessage[]): string[] => messages.map(({ bytes }) => textOf(bytes))

describe('receiving', () => {
  it('hands over what arrived before there was a receiver, in order', async () => {
    const place = await waitingBob()
    const { alice, bob, got } = place
    for (let at = 0; at < 40; at += 1) await alice.messenger.send('bob#1', bytesOf(`m${at}`))
    expect(await bob.store.countWaiting('bob#1')).toEqual({ queued: 0, unacknowledged: 40 })
    bob.messenger.receive(async (message) => {
      got.push(message)
      await message.ack()
    })
    await quiet(place)
    await alice.messenger.send('bob#1', bytesOf('m40'))
    await quiet(place)
    expect(texts(got)).toEqual(Array.from({ length: 41 }, (_, at) => `m${at}`))
    expect(got[0]).toMatchObject({ from: 'alice#1', again: false, receivedAt: place.platform.clock.now() })
    expect(await bob.store.countWaiting('bob#1')).toEqual({ queued: 0, unacknowledged: 0 })
  })

  it('keeps the order of a burst that outgrows memory, with a slow receiver', async () => {
    const place = await waitingBob()
    const { alice, bob, got } = place
    bob.messenger.receive(async (message) => {
      await new Promise((resolve) => setImmediate(resolve))
      got.push(message)
      await message.ack()
    })
    const burst = Array.from({ length: 150 }, (_, at) => `m${at}`)
    await Promise.all(burst.map((text) => alice.messenger.send('bob#1', bytesOf(text))))
    for (let rest = 0; rest < 30; rest += 1) await quiet(place)
    expect(texts(got)).toEqual(burst)
  })

  it('hands an unacknowledged message over again under the same id, and those behind it wait', async () => {
    const place = await waitingBob()
    const { alice, bob, got, platform } = place
    bob.messenger.receive(
      async (message) => {
        got.push(message)
        if (message.again) await message.ack()
      },
      { redeliverAfterMs: 1_000 }
    )
    await alice.messenger.send('bob#1', bytesOf('one'))
    await alice.messenger.send('bob#1', bytesOf('two'))
    await quiet(place)
    expect(texts(got)).toEqual(['one'])
    await platform.clock.advance(999)
    expect(texts(got)).toEqual(['one'])
    await platform.clock.advance(1)
    expect(texts(got)).toEqual(['one', 'one', 'two'])
    expect(got.map(({ again }) => again)).toEqual([false, true, false])
    expect(got[0]?.id).toBe(got[1]?.id)
  })

  it('goes on as soon as a message is acknowledged after its receiver returned', async () => {
    const place = await waitingBob()
    const { alice, bob, got, platform } = place
    bob.messenger.receive((message) => void got.push(message))
    await alice.messenger.send('bob#1', bytesOf('one'))
    await alice.messenger.send('bob#1', bytesOf('two'))
    await quiet(place)
    await got[0]?.ack()
    await got[0]?.ack()
    await quiet(place)
    expect(texts(got)).toEqual(['one', 'two'])
    await got[1]?.ack()
    await quiet(place)
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('tells the observer when the receiver throws, and tries again', async () => {
    const place = await waitingBob()
    const { alice, bob, platform } = place
    const error = new Error('not today')
    let calls = 0
    bob.messenger.receive(async (message) => {
      calls += 1
      if (calls === 1) throw error
      await message.ack()
    })
    await alice.messenger.send('bob#1', bytesOf('one'))
    await platform.clock.advance(30_000)
    expect(bob.events).toContainEqual(expect.objectContaining({ type: 'receiver.failed', peer: 'alice#1', error }))
    expect(calls).toBe(2)
  })

  it('hands over after a restart what was not acknowledged before it', async () => {
    const place = await waitingBob()
    const { alice, bob, got } = place
    bob.messenger.receive((message) => void got.push(message))
    await alice.messenger.send('bob#1', bytesOf('one'))
    await quiet(place)
    await bob.messenger.close()
    expect(place.platform.clock.pendingTimers).toBe(0)
    const again = await place.settle('bob#1', { identity: bob.identity, store: bob.store })
    await quiet(place)
    expect(again.heard).toEqual(['one'])
    expect(await alice.messenger.send('bob#1', bytesOf('two'))).toMatchObject({ outcome: 'delivered' })
  })

  it('runs senders side by side, as many as it may', async () => {
    const place = await waitingBob()
    const { bob } = place
    const senders = await Promise.all(['a', 'b', 'c'].map((name) => place.settle(name, { publish: false })))
    let running = 0
    let most = 0
    bob.messenger.receive(
      async (message) => {
        running += 1
        most = Math.max(most, running)
        await new Promise((resolve) => setImmediate(resolve))
        running -= 1
        await message.ack()
      },
      { concurrency: 2 }
    )
    for (const { messenger } of senders) await messenger.send('bob#1', bytesOf('hello'))
    await Promise.all(senders.map(({ messenger }) => messenger.send('bob#1', bytesOf('again'))))
    await quiet(place)
    expect(most).toBeLessThanOrEqual(2)
    expect(await bob.store.countWaiting('bob#1')).toEqual({ queued: 0, unacknowledged: 0 })
  })

  it('ends when it is stopped, takes one receiver at a time, and refuses options it does not know', async () => {
    const place = await waitingBob()
    const { alice, bob, got } = place
    const receive = bob.messenger.receive as (...args: unknown[]) => () => void
    const stop = receive((message: ReceivedMessage) => got.push(message))
    expect(() => receive(() => {})).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    stop()
    await alice.messenger.send('bob#1', bytesOf('one'))
    await quiet(place)
    expect(got).toEqual([])
    expect(() => receive(() => {}, { concurency: 1 })).toThrow('concurency')
    expect(() => receive(() => {}, { concurrency: 0 })).toThrow('concurrency')
    receive((message: ReceivedMessage) => got.push(message))
    await quiet(place)
    expect(texts(got)).toEqual(['one'])
  })

  it('does not begin, once it is stopped, with a message that waited for its place', async () => {
    const place = await waitingBob()
    const { alice, bob, got } = place
    const carol = await place.settle('carol#1', { publish: false })
    const released = Promise.withResolvers<void>()
    const stop = bob.messenger.receive(
      async (message) => {
        got.push(message)
        await released.promise
      },
      { concurrency: 1 }
    )
    await alice.messenger.send('bob#1', bytesOf('one'))
    await carol.messenger.send('bob#1', bytesOf('two'))
    await quiet(place)
    stop()
    released.resolve()
    await quiet(place)
    expect(texts(got)).toEqual(['one'])
  })

  it('is not full of messages that another process has handed over since', async () => {
    const place = await waitingBob()
    const { alice, bob } = place
    let isFirst = true
    await place.settle('bob#1', {
      identity: bob.identity,
      store: {
        ...bob.store,
        async countWaiting(owner) {
          if (!isFirst) return await bob.store.countWaiting(owner)
          isFirst = false
          return { queued: 0, unacknowledged: 10_000 }
        }
      }
    })
    expect(await alice.messenger.send('bob#1', bytesOf('hello'))).toMatchObject({ outcome: 'delivered' })
  })

  it('defers deliveries while 10,000 messages wait', async () => {
    const place = await waitingBob()
    const { alice, bob } = place
    const store = { ...bob.store, countWaiting: async () => ({ queued: 0, unacknowledged: 10_000 }) }
    await place.settle('bob#1', { identity: bob.identity, store })
    expect(await alice.messenger.send('bob#1', bytesOf('hello'))).toMatchObject({ outcome: 'queued' })
  })

  it('reads on by itself when the store failed for a while', async () => {
    const place = await waitingBob()
    const { alice, bob } = place
    await alice.messenger.send('bob#1', bytesOf('one'))
    await bob.messenger.close()
    let isDown = true
    const down = async (): Promise<never> => {
      throw new Error('store is down')
    }
    const store: typeof bob.store = {
      ...bob.store,
      loadWaitingPeers: (...args) => (isDown ? down() : bob.store.loadWaitingPeers(...args)),
      loadUnacknowledged: (...args) => (isDown ? down() : bob.store.loadUnacknowledged(...args))
    }
    const again = await place.settle('bob#1', { identity: bob.identity, store })
    await place.platform.clock.advance(30_000)
    expect(again.events).toContainEqual(expect.objectContaining({ type: 'inbox.unavailable' }))
    isDown = false
    await place.platform.clock.advance(30_000)
    expect(again.heard).toEqual(['one'])
  })

  it('does not take what it cannot commit: the sender keeps it', async () => {
    const place = await acquainted()
    const { bob, alice } = place
    const commit = bob.store.commit
    bob.store.commit = async () => {
      throw new Error('disk full')
    }
    const sent = await alice.messenger.send('bob#1', bytesOf('one'))
    expect(sent).toMatchObject({ outcome: 'queued' })
    bob.store.commit = commit
    expect(await alice.messenger.flush('bob#1')).toBe(1)
    await quiet(place)
    expect(bob.heard).toEqual(['one'])
  })
})
