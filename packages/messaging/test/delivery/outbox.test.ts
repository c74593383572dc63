import { type Delivery, PLAINTEXT_MAX_BYTES, type Transport } from '@enablement/messaging'
import { describe, expect, it } from 'vitest'
import { acquainted, bytesOf, quiet, sessionOf, town } from '../support/town.ts'

const hex = ({ envelope }: Delivery): string => Buffer.from(envelope).toString('hex')
const DAY_MS = 86_400_000

describe('sending', () => {
  it('gives the sender the id that the recipient is given', async () => {
    const place = await acquainted()
    const ids: string[] = []
    const receiver = await place.settle('dave#1', { receive: false })
    receiver.messenger.receive(async (message) => {
      ids.push(message.id)
      await message.ack()
    })
    const sent = await place.alice.messenger.send('dave#1', bytesOf('hello'))
    await quiet(place)
    expect(sent).toMatchObject({ outcome: 'delivered', id: ids[0] })
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/)
  })

  it('commits the session and the exact envelope before the envelope leaves', async () => {
    const place = await acquainted()
    const { alice, office } = place
    let queuedWhenItLeft: readonly { envelope: Uint8Array }[] = []
    const before = await sessionOf(alice, 'bob#1')
    let after: string | undefined
    const deliver = office.deliver.bind(office)
    office.deliver = async (delivery) => {
      queuedWhenItLeft = await alice.store.loadQueued('alice#1', 'bob#1', { limit: 9 })
      after = await sessionOf(alice, 'bob#1')
      return await deliver(delivery)
    }
    await alice.messenger.send('bob#1', bytesOf('hello'))
    expect(queuedWhenItLeft.map(({ envelope }) => envelope)).toEqual([office.sent[0]?.envelope])
    expect(after).not.toBe(before)
    expect(await alice.store.countWaiting('alice#1')).toEqual({ queued: 0, unacknowledged: 0 })
  })

  it('queues what cannot be delivered, and sends the same bytes in order when it can', async () => {
    const place = await acquainted()
    const { alice, bob, office, platform } = place
    office.open = false
    const first = await alice.messenger.send('bob#1', bytesOf('one'))
    const second = await alice.messenger.send('bob#1', bytesOf('two'))
    expect(first).toMatchObject({ outcome: 'queued', expiresAt: platform.clock.now() + 30 * DAY_MS })
    expect(second).toMatchObject({ outcome: 'queued' })
    office.open = true
    expect(await alice.messenger.send('bob#1', bytesOf('three'))).toMatchObject({ outcome: 'delivered' })
    await quiet(place)
    expect(bob.heard).toEqual(['one', 'two', 'three'])
    // Tried twice behind the closed door and once through the open one: always the same bytes.
    expect(new Set(office.sent.slice(0, 3).map(hex)).size).toBe(1)
    expect(alice.events.filter(({ type }) => type === 'message.queued')).toHaveLength(2)
  })

  it('to one peer is not held up by messages that wait for another', async () => {
    const place = await acquainted()
    const { alice, office } = place
    const carol = await place.settle('carol#1')
    office.open = false
    for (let at = 0; at < 40; at += 1) await alice.messenger.send('bob#1', bytesOf(`b${at}`))
    await alice.messenger.send('carol#1', bytesOf('for carol'))
    await place.bob.messenger.close()
    office.open = true
    expect(await alice.messenger.flush()).toBe(1)
    await quiet(place)
    expect(carol.heard).toEqual(['for carol'])
  })

  it('queues when the transport throws, and tells the observer what it threw', async () => {
    const place = await acquainted()
    const { alice, office } = place
    const deliver = office.deliver
    const error = new Error('socket closed')
    office.deliver = async () => {
      throw error
    }
    const sent = await alice.messenger.send('bob#1', bytesOf('one'))
    expect(sent).toMatchObject({ outcome: 'queued' })
    expect(alice.events).toContainEqual(expect.objectContaining({ type: 'transport.failed', error }))
    office.deliver = deliver
    const [outbox] = alice.messenger.duties
    expect(outbox?.name).toBe('messaging.outbox:alice#1')
    expect(await outbox?.run({ signal: new AbortController().signal })).toEqual({ handled: 1 })
    await quiet(place)
    expect(place.bob.heard).toEqual(['one'])
    expect(await outbox?.run({ signal: new AbortController().signal })).toEqual({ handled: 0 })
  })

  it('picks up after a restart what was queued before it', async () => {
    const place = await acquainted()
    place.office.open = false
    await place.alice.messenger.send('bob#1', bytesOf('before'))
    await place.alice.messenger.close()
    place.office.open = true
    const alice = await place.settle('alice#1', { identity: place.alice.identity, store: place.alice.store })
    expect(await alice.messenger.send('bob#1', bytesOf('after'))).toMatchObject({ outcome: 'delivered' })
    await quiet(place)
    expect(place.bob.heard).toEqual(['before', 'after'])
  })

  it('ends what waited for 30 days, tells the observer, and forgets old keys', async () => {
    const place = await acquainted()
    const { alice, office, platform } = place
    await alice.messenger.send('bob#1', bytesOf('delivered'), { idempotencyKey: 'old' })
    office.open = false
    const queued = await alice.messenger.send('bob#1', bytesOf('late'), { idempotencyKey: 'late' })
    platform.clock.jumpWallTo(platform.clock.now() + 30 * DAY_MS)
    office.open = true
    const [outbox] = alice.messenger.duties
    expect(await outbox?.run({ signal: new AbortController().signal })).toMatchObject({ handled: 3 })
    expect(alice.events).toContainEqual({
      type: 'message.expired',
      peer: 'bob#1',
      id: queued.outcome === 'queued' ? queued.queueId : ''
    })
    await quiet(place)
    expect(place.bob.heard).toEqual(['delivered'])
    expect(await alice.store.loadSent('alice#1', 'old')).toBeUndefined()
  })

  it('keeps the order of concurrent calls', async () => {
    const place = await acquainted()
    const texts = Array.from({ length: 30 }, (_, at) => `m${at}`)
    await Promise.all(texts.map((text) => place.alice.messenger.send('bob#1', bytesOf(text))))
    await quiet(place)
    expect(place.bob.heard).toEqual(texts)
  })

  it('both ways at once does not lock up', async () => {
    const place = await acquainted()
    const { alice, bob } = place
    await Promise.all(
      Array.from({ length: 20 }, (_, at) => [
        alice.messenger.send('bob#1', bytesOf(`a${at}`)),
        bob.messenger.send('alice#1', bytesOf(`b${at}`))
      ]).flat()
    )
    await quiet(place)
    expect([alice.heard.length, bob.heard.length]).toEqual([20, 20])
  })

  it('copies the bytes: the caller may use its buffer again at once', async () => {
    const place = await acquainted()
    const buffer = Buffer.from('before')
    const sending = place.alice.messenger.send('bob#1', buffer)
    buffer.fill('x')
    await sending
    await quiet(place)
    expect(place.bob.heard).toEqual(['before'])
  })
})

describe('an outbox', () => {
  it('is not full of messages that another process has sent since', async () => {
    const place = await acquainted()
    const { alice } = place
    let isFirst = true
    const store: typeof alice.store = {
      ...alice.store,
      async countWaiting(owner) {
        if (!isFirst) return await alice.store.countWaiting(owner)
        isFirst = false
        return { queued: 10_000, unacknowledged: 0 }
      }
    }
    const twin = await place.settle('alice#1', { identity: alice.identity, store, receive: false })
    expect(await twin.messenger.send('bob#1', bytesOf('hello'))).toMatchObject({ outcome: 'delivered' })
  })

  it('tells once that a message has expired, whoever finds out', async () => {
    const place = await acquainted()
    const { alice, office, platform } = place
    const twin = await place.settle('alice#1', { identity: alice.identity, store: alice.store, receive: false })
    office.open = false
    await alice.messenger.send('bob#1', bytesOf('late'))
    platform.clock.jumpWallTo(platform.clock.now() + 30 * DAY_MS)
    await Promise.all([alice.messenger.flush(), twin.messenger.flush()])
    const told = [...alice.events, ...twin.events].filter(({ type }) => type === 'message.expired')
    expect(told).toHaveLength(1)
  })

  it('keeps what is committed when more wait for a slow transport than may wait in line', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const deliver: Transport['deliver'] = office.deliver.bind(office)
    const opened = Promise.withResolvers<void>()
    office.deliver = async (delivery) => {
      await opened.promise
      return await deliver(delivery)
    }
    const texts = Array.from({ length: 1_200 }, (_, at) => `m${at}`)
    const sending: ReturnType<typeof alice.messenger.send>[] = []
    for (const half of [texts.slice(0, 600), texts.slice(600)]) {
      const sent = half.map((text) => alice.messenger.send('bob#1', bytesOf(text)))
      for (const each of sent) each.catch(() => {})
      sending.push(...sent)
      while ((await alice.store.countWaiting('alice#1')).queued < sending.length) await quiet(place)
    }
    opened.resolve()
    const outcomes = (await Promise.all(sending)).map(({ outcome }) => outcome)
    expect(new Set(outcomes)).toEqual(new Set(['delivered', 'queued']))
    await alice.messenger.flush()
    while (bob.heard.length < texts.length) await quiet(place)
    expect(bob.heard).toEqual(texts)
  })
})

describe('an idempotency key', () => {
  it('sends once, one call after the other, at the same time, and after a restart', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const send = () => alice.messenger.send('bob#1', bytesOf('once'), { idempotencyKey: 'k' })
    const outcomes = [...(await Promise.all([send(), send()])), await send()]
    const again = await place.settle('alice#1', { identity: alice.identity, store: alice.store, receive: false })
    outcomes.push(await again.messenger.send('bob#1', bytesOf('once'), { idempotencyKey: 'k' }))
    expect(new Set(outcomes.map((sent) => JSON.stringify(sent))).size).toBe(1)
    expect(outcomes[0]).toMatchObject({ outcome: 'delivered' })
    await quiet(place)
    expect(bob.heard).toEqual(['once'])
    expect(new Set(office.sent.map(hex)).size).toBe(1)
    expect(
      alice.events.filter(({ type }) => type === 'session.contended'),
      'nobody raced'
    ).toEqual([])
  })

  it('names the message that waits, even when there is no room for another', async () => {
    const place = await acquainted()
    const store = { ...place.alice.store, countWaiting: async () => ({ queued: 10_000, unacknowledged: 0 }) }
    const full = await place.settle('alice#1', { identity: place.alice.identity, store, receive: false })
    place.office.open = false
    const send = (messenger: typeof full.messenger, idempotencyKey: string) =>
      messenger.send('bob#1', bytesOf('once'), { idempotencyKey })
    expect(await send(place.alice.messenger, 'k')).toMatchObject({ outcome: 'queued' })
    place.office.open = true
    expect(await send(full.messenger, 'another')).toEqual({
      outcome: 'refused',
      reason: 'outbox-full',
      waiting: 10_000,
      limit: 10_000
    })
    expect(await send(full.messenger, 'k')).toMatchObject({ outcome: 'delivered' })
  })

  it('sends the queued bytes again, not new ones', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const send = () => alice.messenger.send('bob#1', bytesOf('once'), { idempotencyKey: 'k' })
    office.open = false
    expect(await send()).toMatchObject({ outcome: 'queued' })
    const state = await sessionOf(alice, 'bob#1')
    expect(await send()).toMatchObject({ outcome: 'queued' })
    office.open = true
    expect(await send()).toMatchObject({ outcome: 'delivered' })
    expect(await sessionOf(alice, 'bob#1')).toBe(state)
    expect(new Set(office.sent.map(hex)).size).toBe(1)
    await quiet(place)
    expect(bob.heard).toEqual(['once'])
  })

  it('is refused for other bytes or another peer', async () => {
    const place = await acquainted()
    const { alice } = place
    await place.settle('carol#1')
    await alice.messenger.send('bob#1', bytesOf('once'), { idempotencyKey: 'k' })
    const refusal = { outcome: 'refused', reason: 'idempotency-key-reused' }
    expect(await alice.messenger.send('bob#1', bytesOf('other'), { idempotencyKey: 'k' })).toEqual(refusal)
    expect(await alice.messenger.send('carol#1', bytesOf('once'), { idempotencyKey: 'k' })).toEqual(refusal)
    await quiet(place)
    expect(place.bob.heard).toEqual(['once'])
  })
})

describe('refusals', () => {
  it('name the reason, and leave nothing behind', async () => {
    const place = await acquainted()
    const { alice, office } = place
    const tooLarge = new Uint8Array(PLAINTEXT_MAX_BYTES + 1)
    expect(await alice.messenger.send('bob#1', tooLarge)).toEqual({
      outcome: 'refused',
      reason: 'too-large',
      bytes: 65_537,
      limitBytes: 65_536
    })
    expect(await alice.messenger.send('nobody#1', bytesOf('hello'))).toEqual({
      outcome: 'refused',
      reason: 'unknown-peer'
    })
    expect(await alice.messenger.send('alice#1', bytesOf('hello'))).toEqual({
      outcome: 'refused',
      reason: 'own-address'
    })
    expect(office.sent).toEqual([])
  })

  it('do not touch the largest message, nor the empty one', async () => {
    const place = await acquainted()
    const lengths: number[] = []
    const { messenger } = await place.settle('carol#1', { receive: false })
    messenger.receive(async (message) => {
      lengths.push(message.bytes.length)
      await message.ack()
    })
    for (const length of [PLAINTEXT_MAX_BYTES, 0, PLAINTEXT_MAX_BYTES]) {
      expect(await place.alice.messenger.send('carol#1', new Uint8Array(length))).toMatchObject({
        outcome: 'delivered'
      })
    }
    await quiet(place)
    expect(lengths).toEqual([65_536, 0, 65_536])
  })

  it('of wrong arguments are thrown with their path', async () => {
    const { alice } = await acquainted()
    const send = alice.messenger.send as (...args: unknown[]) => Promise<unknown>
    const wrong: [unknown[], string][] = [
      [[7, bytesOf('x')], 'peer'],
      [['', bytesOf('x')], 'peer'],
      [['x'.repeat(256), bytesOf('x')], 'peer'],
      [['bob\ud800', bytesOf('x')], 'peer'],
      [['bob\0', bytesOf('x')], 'peer'],
      [['bob#1', 'text'], 'bytes'],
      [['bob#1', bytesOf('x'), { idempotencyKey: '' }], 'options.idempotencyKey']
    ]
    for (const [args, path] of wrong) {
      await expect(send(...args)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', detail: { path } })
    }
  })

  it('of a directory that fails are thrown, and cost nothing', async () => {
    const place = town()
    const alice = await place.settle('alice#1')
    const cause = new Error('no route')
    place.directory.claim = async () => {
      throw cause
    }
    await expect(alice.messenger.send('bob#1', bytesOf('x'))).rejects.toMatchObject({
      code: 'DIRECTORY_UNAVAILABLE',
      cause
    })
    expect(await sessionOf(alice, 'bob#1')).toBeUndefined()
  })

  it('after close are typed, and close waits for what is under way', async () => {
    const place = await acquainted()
    const { alice, office } = place
    let release = (): void => {}
    const deliver: Transport['deliver'] = office.deliver.bind(office)
    office.deliver = async (delivery) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return await deliver(delivery)
    }
    const sending = alice.messenger.send('bob#1', bytesOf('under way'))
    await quiet(place)
    let isClosed = false
    const closing = alice.messenger.close().then(() => {
      isClosed = true
    })
    await quiet(place)
    expect(isClosed).toBe(false)
    release()
    await closing
    expect(await sending).toMatchObject({ outcome: 'delivered' })
    await expect(alice.messenger.send('bob#1', bytesOf('x'))).rejects.toMatchObject({ code: 'MESSENGER_CLOSED' })
    expect(() => alice.messenger.receive(() => {})).toThrow(expect.objectContaining({ code: 'MESSENGER_CLOSED' }))
  })
})
