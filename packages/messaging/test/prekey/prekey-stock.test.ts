import { describe, expect, it } from 'vitest'
import { bytesOf, town } from '../support/town.ts'

const DAY_MS = 86_400_000

describe('publishing prekeys', () => {
  it('fills the directory up to 100, with numbers that are never used again', async () => {
    const place = town()
    const { messenger, store } = await place.settle('alice#1', { publish: false })
    expect(await messenger.publishPrekeys()).toEqual({ signedPrekeyId: 0, oneTimePrekeys: 100 })
    expect(await messenger.publishPrekeys()).toEqual({ signedPrekeyId: 0, oneTimePrekeys: 0 })
    const claimed: (number | undefined)[] = []
    for (let count = 0; count < 3; count += 1) {
      claimed.push((await place.directory.claim('alice#1'))?.oneTimePrekey?.id)
    }
    expect(claimed).toEqual([1, 2, 3])
    expect(await messenger.publishPrekeys()).toEqual({ signedPrekeyId: 0, oneTimePrekeys: 3 })
    expect((await store.loadPrekeyStock('alice#1')).nextId).toBe(104)
  })

  it('has committed the private halves when the directory hears of the public ones', async () => {
    const place = town()
    const { messenger, store } = await place.settle('alice#1', { publish: false })
    let held = 0
    const publish = place.directory.publish
    place.directory.publish = async (address, upload) => {
      held = (await store.loadPrekeyStock(address)).oneTimeCount
      await publish(address, upload)
    }
    await messenger.publishPrekeys()
    expect(held).toBe(100)
  })

  it('wastes numbers and reuses none when the directory fails after the commit', async () => {
    const place = town()
    const { messenger, store } = await place.settle('alice#1', { publish: false })
    const publish = place.directory.publish
    place.directory.publish = async () => {
      throw new Error('no route')
    }
    await expect(messenger.publishPrekeys()).rejects.toMatchObject({ code: 'DIRECTORY_UNAVAILABLE' })
    place.directory.publish = publish
    expect(await messenger.publishPrekeys()).toEqual({ signedPrekeyId: 0, oneTimePrekeys: 100 })
    expect((await place.directory.claim('alice#1'))?.oneTimePrekey?.id).toBe(101)
    expect((await store.loadPrekeyStock('alice#1')).nextId).toBe(201)
  })

  it('by two processes at once gives every prekey a number of its own', async () => {
    const place = town()
    const one = await place.settle('alice#1', { publish: false })
    const other = await place.settle('alice#1', { publish: false, identity: one.identity, store: one.store })
    await Promise.all([one.messenger.publishPrekeys(), other.messenger.publishPrekeys()])
    const { nextId, oneTimeCount, signed } = await one.store.loadPrekeyStock('alice#1')
    expect(nextId).toBe(oneTimeCount + signed.length)
  })

  it('replaces the signed prekey after 7 days, and keeps the old one for 32 days after it made way', async () => {
    const place = town()
    const { clock } = place.platform
    const bob = await place.settle('bob#1')
    const alice = await place.settle('alice#1')
    const signedIds = async (): Promise<number[]> =>
      (await bob.store.loadPrekeyStock('bob#1')).signed.map(({ id }) => id)
    clock.jumpWallTo(clock.now() + 7 * DAY_MS - 1)
    expect(await bob.messenger.publishPrekeys()).toMatchObject({ signedPrekeyId: 0 })
    place.office.holding = true
    await alice.messenger.send('bob#1', bytesOf('late'))
    place.office.holding = false
    clock.jumpWallTo(clock.now() + 1)
    // The one-time prekey that Alice took has its number from the first batch; this one replaces it in the directory.
    expect(await bob.messenger.publishPrekeys()).toEqual({ signedPrekeyId: 101, oneTimePrekeys: 1 })
    expect(await signedIds()).toEqual([101, 0])
    const [late] = place.office.sent
    if (late !== undefined) expect(await place.office.hand(late)).toEqual({ outcome: 'accepted' })
    clock.jumpWallTo(clock.now() + 32 * DAY_MS)
    await bob.messenger.publishPrekeys()
    expect(await signedIds()).toContain(0)
    clock.jumpWallTo(clock.now() + 1)
    await bob.messenger.publishPrekeys()
    expect(await signedIds()).not.toContain(0)
  })

  it('keeps a signed prekey for 32 days after it made way, however long it was with the directory', async () => {
    const place = town()
    const { clock } = place.platform
    const bob = await place.settle('bob#1')
    const alice = await place.settle('alice#1')
    clock.jumpWallTo(clock.now() + 60 * DAY_MS)
    place.office.holding = true
    await alice.messenger.send('bob#1', bytesOf('from the old bundle'))
    place.office.holding = false
    expect(await bob.messenger.publishPrekeys()).toMatchObject({ signedPrekeyId: 101 })
    const [late] = place.office.sent
    expect(late && (await place.office.hand(late))).toEqual({ outcome: 'accepted' })
  })

  it('makes at most a hundred at a call, and keeps at most a thousand, whatever the directory says', async () => {
    const place = town()
    const { messenger, store } = await place.settle('alice#1', { publish: false })
    for (const remaining of [-5_000, Number.NaN, 0.5]) {
      place.directory.remaining = async () => remaining
      expect(await messenger.publishPrekeys()).toMatchObject({ oneTimePrekeys: 100 })
    }
    for (let call = 0; call < 10; call += 1) await messenger.publishPrekeys()
    expect((await store.loadPrekeyStock('alice#1')).oneTimeCount).toBeLessThanOrEqual(1_000)
  })
})

describe('the in-process directory', () => {
  it('hands each one-time prekey out once, to claims at the same time, and then bundles without one', async () => {
    const place = town()
    await place.settle('alice#1')
    const bundles = await Promise.all(Array.from({ length: 103 }, () => place.directory.claim('alice#1')))
    const ids = bundles.map((bundle) => bundle?.oneTimePrekey?.id).filter((id) => id !== undefined)
    expect([ids.length, new Set(ids).size]).toEqual([100, 100])
    expect(await place.directory.claim('nobody#1')).toBeUndefined()
  })

  it('ignores one-time prekeys that were published before', async () => {
    const place = town()
    const { identity } = await place.settle('alice#1')
    const bundle = await place.directory.claim('alice#1')
    if (bundle?.oneTimePrekey === undefined) throw new Error('there is one')
    await place.directory.publish('alice#1', {
      identity: identity.publicIdentity,
      signedPrekey: bundle.signedPrekey,
      oneTimePrekeys: [bundle.oneTimePrekey]
    })
    expect(await place.directory.remaining('alice#1')).toBe(99)
  })
})
