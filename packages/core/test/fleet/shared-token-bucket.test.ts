import { getEventListeners } from 'node:events'
import {
  createSharedTokenBucket,
  memoryTokenBucketStore,
  type SharedReservation,
  type SharedTokenBucketEvent,
  type SharedTokenBucketOptions,
  type TokenBucketStore
} from '@enablement/core/fleet'
import { testPlatform } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

function bench(options: Partial<SharedTokenBucketOptions> = {}, over: Partial<TokenBucketStore> = {}) {
  const platform = testPlatform()
  const store = { ...memoryTokenBucketStore({ platform }), ...over }
  const events: SharedTokenBucketEvent[] = []
  const process = () =>
    createSharedTokenBucket({
      name: 'api',
      store,
      perSecond: 10,
      burst: 2,
      onStoreFailure: 'throw',
      platform,
      observe: (event) => events.push(event),
      ...options
    })
  return { platform, store, events, process, bucket: process() }
}

const away = (): Promise<never> => Promise.reject(Object.assign(new Error('away'), { code: 'STORE_UNAVAILABLE' }))
const never = (): Promise<never> => new Promise(() => {})

describe('shared token bucket', () => {
  it('holds the rate over all processes together', async () => {
    const { process, platform } = bench()
    const all = [process(), process(), process()]
    const takeAll = async () => (await Promise.all(all.map((bucket) => bucket.take()))).map(({ outcome }) => outcome)
    expect(await takeAll()).toEqual(['taken', 'taken', 'throttled'])
    await platform.clock.advance(100)
    expect((await takeAll()).filter((outcome) => outcome === 'taken')).toHaveLength(1)
  })

  it('says when there will be enough, and when there never will be', async () => {
    const { bucket } = bench()
    await bucket.take(2)
    expect(await bucket.take()).toEqual({ outcome: 'throttled', retryAfterMs: 100 })
    expect(await bucket.take(3)).toEqual({ outcome: 'exceeds-burst', burst: 2 })
    expect(await bucket.reserve(1, { waitMaxMs: 99 })).toMatchObject({ outcome: 'throttled' })
  })

  it('reserves, and puts back what is still due', async () => {
    const { bucket, platform } = bench()
    await bucket.take(2)
    const reserved = (await bucket.reserve(2)) as SharedReservation
    expect(reserved).toMatchObject({ outcome: 'reserved', waitMs: 200 })
    expect([await reserved.cancel(), await reserved.cancel()]).toEqual([2, 0])
    const late = (await bucket.reserve(2)) as SharedReservation
    await platform.clock.advance(201)
    expect(await late.cancel()).toBe(0)
  })

  it('pauses in all processes for as long as a server asked for', async () => {
    const { process, platform } = bench()
    const [one, other] = [process(), process()]
    await one.pause(30_000)
    expect(await other.take()).toEqual({ outcome: 'throttled', retryAfterMs: 30_000 })
    await platform.clock.advance(29_000)
    expect(await other.reserve(1, { waitMaxMs: 999 })).toMatchObject({ outcome: 'throttled' })
    await platform.clock.advance(1_000)
    expect([await other.take(), await one.take()]).toMatchObject([{ outcome: 'taken' }, { outcome: 'throttled' }])
  })

  it('pauses at least this process when the store fails, and throws if it is told to', async () => {
    const alone = bench({ onStoreFailure: 'alone' }, { reserve: away, pause: away })
    await alone.bucket.pause(1_000)
    expect(await alone.bucket.take()).toEqual({ outcome: 'throttled', retryAfterMs: 1_000 })
    await expect(bench({}, { pause: away }).bucket.pause(1)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  it.each([-1, Number.NaN, 86_400_001])('refuses to pause for %s ms, and goes on', async (durationMs) => {
    const { bucket } = bench()
    await expect(bucket.pause(durationMs)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path: 'durationMs' }] }
    })
    expect(await bucket.take(2)).toEqual({ outcome: 'taken' })
  })

  it('runs work when a token is there, waits for one up to waitMaxMs, and throws beyond', async () => {
    const { bucket, platform } = bench({ burst: 1, waitMaxMs: 100 })
    expect(await bucket.execute(() => 'first')).toBe('first')
    const second = bucket.execute(() => platform.clock.monotonic())
    const third = await bucket.execute(() => 'third').catch((error: unknown) => error)
    expect(third).toMatchObject({ code: 'THROTTLED', detail: { retryAfterMs: 100 } })
    await platform.clock.advance(100)
    expect(await second).toBe(100)
  })

  it('puts the token of a caller back that gives up, and leaves neither timer nor listener (pitfall 14)', async () => {
    const { bucket, platform } = bench({ burst: 1, waitMaxMs: 1_000 })
    await bucket.execute(() => 1)
    const caller = new AbortController()
    const left = bucket.execute(() => 2, { signal: caller.signal })
    await platform.clock.advance(10)
    caller.abort(new Error('the user left'))
    await expect(left).rejects.toThrow('the user left')
    await expect(bucket.execute(() => 3, { signal: caller.signal })).rejects.toThrow('the user left')
    expect(getEventListeners(caller.signal, 'abort')).toEqual([])
    await platform.clock.advance(90)
    expect(platform.clock.pendingTimers).toBe(0)
    expect(await bucket.take()).toEqual({ outcome: 'taken' })
  })

  it.each([
    ['does not answer', away, 'STORE_UNAVAILABLE'],
    ['answers too late', never, 'TIMED_OUT']
  ] as const)('throws when the store %s, if it is told to, after storeTimeoutMs at most', async (_, reserve, code) => {
    const { bucket, platform, events } = bench({}, { reserve })
    let begun = 0
    const ends = [bucket.take(), bucket.execute(() => (begun += 1))].map((end) => end.catch((error: unknown) => error))
    await platform.clock.advance(250)
    for (const end of ends) expect(await end).toMatchObject({ code })
    expect([begun, bucket.storeAnswers]).toEqual([0, false])
    expect(events.map(({ type }) => type)).toEqual(['token-bucket.store-failed'])
  })

  it.each([
    ['does not answer', away],
    ['answers too late', never]
  ] as const)('goes on with a bucket of its own when the store %s, if it is told to', async (_, reserve) => {
    const { bucket, platform, events, store } = bench({ onStoreFailure: 'alone' }, { reserve })
    const ends = [1, 2, 3].map(() => bucket.take())
    await platform.clock.advance(250)
    const outcomes = (await Promise.all(ends)).map(({ outcome }) => outcome)
    expect(outcomes).toEqual(['taken', 'taken', 'throttled'])
    const reserving = bucket.reserve(2, { waitMaxMs: 1_000 })
    await platform.clock.advance(250)
    expect(await ((await reserving) as SharedReservation).cancel()).toBeGreaterThanOrEqual(0)
    store.reserve = async () => ({ outcome: 'reserved', waitMs: 0 })
    expect(await bucket.take()).toEqual({ outcome: 'taken' })
    expect(events.map(({ type }) => type)).toEqual(['token-bucket.store-failed', 'token-bucket.store-answers'])
  })

  it('asks a store that never answers no more than 10,000 questions (pitfall 15)', async () => {
    let asked = 0
    const reserve = () => {
      asked += 1
      return never()
    }
    const { bucket, platform } = bench({ onStoreFailure: 'alone' }, { reserve })
    const ends = Array.from({ length: 10_001 }, () => bucket.take())
    await platform.clock.advance(250)
    await Promise.all(ends)
    expect(asked).toBe(10_000)
  })

  it.each([
    { options: { onStoreFailure: undefined }, path: 'onStoreFailure' },
    { options: { perSecond: 0 }, path: 'perSecond' },
    { options: { perSecond: Number.NaN }, path: 'perSecond' },
    { options: { perSecond: 1e-9 }, path: 'perSecond' },
    { options: { burst: 1.5 }, path: 'burst' },
    { options: { waitMaxMs: -1 }, path: 'waitMaxMs' },
    { options: { storeTimeoutMs: Number.POSITIVE_INFINITY }, path: 'storeTimeoutMs' },
    { options: { store: {} }, path: 'store' },
    { options: { name: '' }, path: 'name' },
    { options: { name: 'a\0b' }, path: 'name' },
    { options: { name: '\ud800' }, path: 'name' },
    { options: { brust: 1 }, path: 'brust' }
  ])('refuses $path', ({ options, path }) => {
    expect(() => bench(options as object)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })

  it.each([-1, 1.5, Number.NaN])('refuses to take %s tokens, and takes nothing', async (tokens) => {
    const { bucket } = bench()
    await expect(bucket.take(tokens)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(bucket.reserve(tokens)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(await bucket.take(2)).toEqual({ outcome: 'taken' })
  })
})
