import type { Delivery } from '@enablement/messaging'
import { describe, expect, it } from 'vitest'
import { acquainted, bytesOf, type Citizen, quiet, sessionOf, type Town, town } from '../support/town.ts'

/** Seals without delivering, and gives what would have travelled. */
async function sealOnly({ office }: Town, from: Citizen, to: string, texts: readonly string[]): Promise<Delivery[]> {
  const start = office.sent.length
  office.holding = true
  for (const text of texts) await from.messenger.send(to, bytesOf(text))
  office.holding = false
  return office.sent.splice(start)
}

const withByte = (delivery: Delivery, at: number, change: (byte: number) => number): Delivery => {
  const envelope = delivery.envelope.slice()
  envelope[at] = change(envelope[at] as number)
  return { ...delivery, envelope }
}

/** Where the ratchet header starts in an envelope without an opening. */
const HEADER_AT = 19
const COUNT_AT = HEADER_AT + 36

describe('a delivery', () => {
  it.each([
    ['is too long', 'x'.repeat(256)],
    ['is empty', ''],
    ['is not well-formed, and would pass for another in UTF-8', 'alice\ud800'],
    ['holds a NUL, which no Postgres column takes', 'alice\0']
  ])('from an address that %s is refused before the store is asked', async (_, from) => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const [genuine] = (await sealOnly(place, alice, 'bob#1', ['genuine'])) as [Delivery]
    bob.store.loadSession = async () => {
      throw new Error('asked')
    }
    expect(await office.hand({ ...genuine, from })).toEqual({ outcome: 'rejected', reason: 'malformed' })
  })
})

describe('an envelope', () => {
  it.each([
    ['first, with an opening', true],
    ['later', false]
  ] as const)(
    'that is %s, changed in any byte, cut short or extended, changes nothing; then the genuine one opens',
    async (_, isFirst) => {
      const place = isFirst ? await strangers() : await acquainted()
      const { alice, bob, office } = place
      const [genuine] = (await sealOnly(place, alice, 'bob#1', ['genuine'])) as [Delivery]
      const before = await sessionOf(bob, 'alice#1')
      const stock = await bob.store.loadPrekeyStock('bob#1')
      const refusals = new Set<string>()
      const forgeries = Array.from(genuine.envelope, (_byte, at) => withByte(genuine, at, (byte) => byte ^ 0x21))
      for (const length of [0, 1, 18, 19, 20, 60, genuine.envelope.length - 1]) {
        forgeries.push({ ...genuine, envelope: genuine.envelope.slice(0, length) })
      }
      forgeries.push({ ...genuine, envelope: Uint8Array.of(...genuine.envelope, 0) })
      forgeries.push({ ...genuine, envelope: new Uint8Array(70_000) })
      for (const forged of forgeries) {
        const reply = await office.hand(forged)
        expect(reply.outcome).toBe('rejected')
        if (reply.outcome === 'rejected') refusals.add(reply.reason)
      }
      expect(await sessionOf(bob, 'alice#1')).toBe(before)
      expect(await bob.store.loadPrekeyStock('bob#1')).toEqual(stock)
      expect(await bob.store.countWaiting('bob#1')).toEqual({ queued: 0, unacknowledged: 0 })
      expect(refusals).toContain('malformed')
      expect(refusals).toContain('not-authentic')

      expect(await office.hand(genuine)).toEqual({ outcome: 'accepted' })
      await quiet(place)
      expect(bob.heard).toEqual(['genuine'])
    },
    20_000
  )

  it('delivered under another sender’s name, or to another recipient, does not open', async () => {
    const place = await strangers()
    const carol = await place.settle('carol#1')
    const [genuine] = (await sealOnly(place, place.alice, 'bob#1', ['for bob'])) as [Delivery]
    expect(await place.office.hand({ ...genuine, from: 'mallory#1' })).toMatchObject({ reason: 'not-authentic' })
    expect(await place.office.hand({ ...genuine, to: 'carol#1' })).toMatchObject({ outcome: 'rejected' })
    expect(carol.heard).toEqual([])
    expect(await place.office.hand(genuine)).toEqual({ outcome: 'accepted' })
  })
})

/** Two agents who have never written to each other. */
async function strangers(): Promise<Town & { alice: Citizen; bob: Citizen }> {
  const place = town()
  return { ...place, alice: await place.settle('alice#1'), bob: await place.settle('bob#1') }
}

describe('hostile delivery', () => {
  it('1: a forged ratchet key, then the genuine message', async () => {
    const place = await acquainted()
    const [genuine] = (await sealOnly(place, place.alice, 'bob#1', ['genuine'])) as [Delivery]
    const forged = { ...genuine, envelope: genuine.envelope.slice() }
    forged.envelope.set(new Uint8Array(32).fill(9), HEADER_AT)
    expect(await place.office.hand(forged)).toEqual({ outcome: 'rejected', reason: 'not-authentic' })
    await place.office.hand(genuine)
    await quiet(place)
    expect(place.bob.heard).toEqual(['genuine'])
  })

  it('2: a counter forged 50 ahead, then the genuine message', async () => {
    const place = await acquainted()
    const [genuine] = (await sealOnly(place, place.alice, 'bob#1', ['genuine'])) as [Delivery]
    expect(await place.office.hand(withByte(genuine, COUNT_AT + 3, (byte) => byte + 50))).toMatchObject({
      reason: 'not-authentic'
    })
    await place.office.hand(genuine)
    await quiet(place)
    expect(place.bob.heard).toEqual(['genuine'])
  })

  it('3: a replay, then the next message', async () => {
    const place = await acquainted()
    await place.alice.messenger.send('bob#1', bytesOf('once'))
    const [delivery] = place.office.sent as [Delivery]
    expect(await place.office.hand(delivery)).toEqual({ outcome: 'accepted' })
    await place.alice.messenger.send('bob#1', bytesOf('next'))
    await quiet(place)
    expect(place.bob.heard).toEqual(['once', 'next'])
    expect(place.bob.events.filter(({ type }) => type === 'duplicate.suppressed')).toHaveLength(1)
  })

  it('4: a late duplicate from an old chain, then messages both ways', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    await alice.messenger.send('bob#1', bytesOf('old'))
    const [old] = office.sent as [Delivery]
    for (let turn = 0; turn < 7; turn += 1) {
      await bob.messenger.send('alice#1', bytesOf(`b${turn}`))
      await alice.messenger.send('bob#1', bytesOf(`a${turn}`))
    }
    expect(await office.hand(old)).toEqual({ outcome: 'accepted' })
    await alice.messenger.send('bob#1', bytesOf('on'))
    await bob.messenger.send('alice#1', bytesOf('and on'))
    await quiet(place)
    expect(bob.heard).toEqual(['old', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'on'])
    expect(alice.heard.at(-1)).toBe('and on')
  })

  it('5: a corrupt copy of an overtaken message, then the genuine one', async () => {
    const place = await acquainted()
    const [late, next] = (await sealOnly(place, place.alice, 'bob#1', ['late', 'next'])) as [Delivery, Delivery]
    await place.office.hand(next)
    expect(await place.office.hand(withByte(late, late.envelope.length - 1, (byte) => byte ^ 1))).toMatchObject({
      reason: 'not-authentic'
    })
    await place.office.hand(late)
    await quiet(place)
    expect(place.bob.heard).toEqual(['next', 'late'])
  })

  it('6: out of order across a DH step', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const [late] = (await sealOnly(place, alice, 'bob#1', ['late'])) as [Delivery]
    await bob.messenger.send('alice#1', bytesOf('turn'))
    const [turned] = (await sealOnly(place, alice, 'bob#1', ['turned'])) as [Delivery]
    await office.hand({ ...turned })
    await office.hand(late)
    await quiet(place)
    expect(bob.heard).toContain('late')
    expect(bob.heard).toContain('turned')
  })

  it('7: a counter forged 40,000 ahead costs next to nothing and names the numbers', async () => {
    const place = await acquainted()
    const [genuine] = (await sealOnly(place, place.alice, 'bob#1', ['genuine'])) as [Delivery]
    const forged = { ...genuine, envelope: genuine.envelope.slice() }
    new DataView(forged.envelope.buffer).setUint32(COUNT_AT, 40_000)
    expect(await place.office.hand(forged)).toEqual({ outcome: 'rejected', reason: 'too-far-ahead' })
    expect(place.bob.events.at(-1)).toMatchObject({ reason: 'too-far-ahead', received: 40_000 })
    await place.office.hand(genuine)
    await quiet(place)
    expect(place.bob.heard).toEqual(['genuine'])
  })

  it('8: a ratchet key and a base key of small order', async () => {
    const place = await strangers()
    const [opening] = (await sealOnly(place, place.alice, 'bob#1', ['opening'])) as [Delivery]
    for (const at of [HEADER_AT + 128, HEADER_AT + 128 + 32 + 9]) {
      const forged = { ...opening, envelope: opening.envelope.slice() }
      forged.envelope.set(new Uint8Array(32), at)
      expect(await place.office.hand(forged)).toEqual({ outcome: 'rejected', reason: 'not-authentic' })
    }
    expect(await place.office.hand(opening)).toEqual({ outcome: 'accepted' })
  })

  it('9: 300 lost messages, then the next', async () => {
    const place = await acquainted()
    const lost = await sealOnly(
      place,
      place.alice,
      'bob#1',
      Array.from({ length: 301 }, (_, at) => `m${at}`)
    )
    await place.office.hand(lost.at(-1) as Delivery)
    await quiet(place)
    expect(place.bob.heard).toEqual(['m300'])
  })

  it('10: 20 concurrent sends give 20 message numbers', async () => {
    const place = await acquainted()
    const { alice, bob, office } = place
    const texts = Array.from({ length: 20 }, (_, at) => `m${at}`)
    const outcomes = await Promise.all(texts.map((text) => alice.messenger.send('bob#1', bytesOf(text))))
    expect(new Set(outcomes.map(({ outcome }) => outcome))).toEqual(new Set(['delivered']))
    const numbers = office.sent.map(({ envelope }) => new DataView(envelope.buffer).getUint32(COUNT_AT))
    expect(new Set(numbers).size).toBe(20)
    await quiet(place)
    expect(bob.heard).toEqual(texts)
  })

  it('11: 20 concurrent deliveries of one message open it once', async () => {
    const place = await acquainted()
    const [genuine] = (await sealOnly(place, place.alice, 'bob#1', ['once'])) as [Delivery]
    const replies = await Promise.all(Array.from({ length: 20 }, () => place.office.hand(genuine)))
    expect(new Set(replies.map(({ outcome }) => outcome))).toEqual(new Set(['accepted']))
    await quiet(place)
    expect(place.bob.heard).toEqual(['once'])
  })
})
