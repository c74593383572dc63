import {
  fleetSchema,
  memoryBreakerStateStore,
  memoryTokenBucketStore,
  sqlBreakerStateStore,
  sqlTokenBucketStore
} from '@enablement/core/fleet'
import { changes, execute, firstRow, integerOf, migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, testPlatform, virtualClock, withStoreClock } from '@enablement/core/testing'
import { test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { breakerHistory, bucketHistory, playBreaker, playBucket, START_AT } from './store-histories.ts'

const DAY_MS = 86_400_000
const { signal } = new AbortController()
const SOAK_MS = 600_000
const numRuns = Math.ceil(30 * inject('scale'))

async function onSqlite(clock = virtualClock()) {
  const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
  await migrate(db, [fleetSchema])
  const count = async (table: string) =>
    integerOf((await db.run(() => firstRow(`select count(*) as n from ${table}`))) ?? {}, 'n')
  return { db, clock, count, breakers: sqlBreakerStateStore({ db }), buckets: sqlTokenBucketStore({ db }) }
}

const break5s = { generation: 0, breaks: 1, breakMs: 5_000, breakLeftMs: 5_000 }
const claim = (idempotencyKey: string) => ({
  rule: { perSecond: 1, burst: 10 },
  tokens: 1,
  waitMaxMs: 0,
  idempotencyKey
})

describe('fleet stores: the same histories', () => {
  test.prop([breakerHistory], { numRuns })(
    'end alike for breakers in memory and on SQLite',
    async (history) => {
      const clock = virtualClock({ now: START_AT })
      const { db, breakers } = await onSqlite(clock)
      await using _ = db
      const model = memoryBreakerStateStore({ platform: { clock, random: seededRandom(1) } })
      await playBreaker(history, clock, 'hook', [breakers, model])
    },
    SOAK_MS
  )

  test.prop([bucketHistory], { numRuns })(
    'end alike for buckets in memory and on SQLite, to the last bit',
    async (history) => {
      const clock = virtualClock({ now: START_AT })
      const { db, buckets } = await onSqlite(clock)
      await using _ = db
      const model = memoryTokenBucketStore({ platform: { clock, random: seededRandom(1) } })
      await playBucket(history, clock, 'api', [buckets, model])
    },
    SOAK_MS
  )
})

describe('breaker state store in memory', () => {
  it('forgets closed breakers when it is full, and takes no more when all are open (pitfall 15)', async () => {
    const store = memoryBreakerStateStore({ platform: testPlatform(), namesMax: 2 })
    const { generation } = await store.open('a', break5s)
    await store.open('b', break5s)
    await expect(store.open('c', break5s)).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { waiting: 2, limit: 2 }
    })
    await store.close('a', { generation })
    expect(await store.open('c', break5s)).toMatchObject({ state: 'open' })
    expect(await store.read('a')).toMatchObject({ generation: 0 })
    expect(await store.read('b')).toMatchObject({ state: 'open' })
  })

  it.each([{ namesMax: 0 }, { namesMax: Number.NaN }, { names: 1 }])('is not made with %j', (options) => {
    expect(() => memoryBreakerStateStore(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})

describe('breaker state store on SQL', () => {
  it('sweeps breakers that nobody has changed for 30 days', async () => {
    const { db, clock, breakers, count } = await onSqlite()
    await using _ = db
    await breakers.open('old', break5s)
    clock.jumpWallTo(clock.now() + 15 * DAY_MS)
    await breakers.open('new', break5s)
    clock.jumpWallTo(clock.now() + 15 * DAY_MS + 1)
    expect(await breakers.sweep.run({ signal })).toEqual({ handled: 1 })
    expect(await count('breaker_states')).toBe(1)
    expect(await breakers.read('new')).toMatchObject({ state: 'open' })
  })

  it('says of its store what that says, and does not take a row for a breaker that is none', async () => {
    const { db, breakers } = await onSqlite()
    await using _ = db
    expect(breakers.supports).toEqual({ durable: 'none', shared: false })
    await breakers.open('hook', break5s)
    await db.run(() => changes("update breaker_states set state = 'ajar'"))
    await expect(breakers.read('hook')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
    await expect(breakers.reset('hook')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
    await db.run(() => changes("update breaker_states set state = 'open', generation = ?", 2n ** 60n))
    await expect(breakers.read('hook')).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
  })

  it('is not made without a database', () => {
    expect(() => sqlBreakerStateStore({} as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})

describe('token bucket store in memory', () => {
  it('forgets full buckets when there are many, and takes no more when none is full (pitfall 15)', async () => {
    const { clock, random } = testPlatform()
    const store = memoryTokenBucketStore({ platform: { clock, random }, bucketsMax: 2 })
    await store.reserve('a', claim('k'))
    await store.reserve('b', claim('k'))
    await expect(store.reserve('c', claim('k'))).rejects.toMatchObject({ code: 'OVERLOADED', detail: { limit: 2 } })
    await clock.advance(30_000)
    expect(await store.reserve('c', claim('k'))).toMatchObject({ outcome: 'reserved' })
  })

  it('remembers so many claims of a bucket, and takes no more until it may forget some', async () => {
    const { clock, random } = testPlatform()
    const store = memoryTokenBucketStore({ platform: { clock, random }, claimsMax: 2 })
    await store.reserve('a', claim('1'))
    await store.reserve('a', claim('2'))
    await expect(store.reserve('a', claim('3'))).rejects.toMatchObject({ code: 'OVERLOADED', detail: { limit: 2 } })
    await clock.advance(30_000)
    expect(await store.reserve('a', claim('3'))).toMatchObject({ outcome: 'reserved' })
  })

  it.each([{ bucketsMax: 0 }, { claimsMax: Number.NaN }, { buckets: 1 }])('is not made with %j', (options) => {
    expect(() => memoryTokenBucketStore(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})

describe('token bucket store on SQL', () => {
  it('keeps no claim of a bucket in use for longer than 90 s, without any sweep', async () => {
    const { db, clock, buckets, count } = await onSqlite()
    await using _ = db
    for (let second = 0; second < 150; second++) {
      await buckets.reserve('api', claim(`key-${second}`))
      clock.jumpWallTo(clock.now() + 1_000)
    }
    expect(await count('token_reservations')).toBe(90)
  })

  it('sweeps buckets that are full and claims of long ago, and never one that is missed', async () => {
    const { db, clock, buckets, count } = await onSqlite()
    await using _ = db
    for (let at = 0; at < 3; at++) await buckets.reserve(`bucket-${at}`, claim('k'))
    const slow = { ...claim('k'), rule: { perSecond: 0.01, burst: 1 } }
    await buckets.reserve('slow', slow)
    clock.jumpWallTo(clock.now() + 89_999)
    // Three buckets; the claims of all four are over, but a clock that is set back must not make one of them new.
    expect(await buckets.sweep.run({ signal })).toEqual({ handled: 3 })
    clock.jumpWallTo(clock.now() - 60_000)
    expect(await buckets.reserve('slow', slow)).toMatchObject({ outcome: 'reserved' })
    clock.jumpWallTo(clock.now() + 60_001)
    expect(await buckets.sweep.run({ signal })).toEqual({ handled: 4 })
    expect([await count('token_buckets'), await count('token_reservations')]).toEqual([1, 0])
    expect(await buckets.reserve('slow', { ...slow, idempotencyKey: 'other' })).toMatchObject({ outcome: 'throttled' })
  })

  it('writes nothing for a claim that is refused', async () => {
    const { db, clock, buckets, count } = await onSqlite()
    await using _ = db
    await buckets.reserve('api', { ...claim('k'), tokens: 10 })
    clock.jumpWallTo(clock.now() + 100)
    const before = await db.run(() => firstRow('select * from token_buckets'))
    expect(await buckets.reserve('api', claim('other'))).toMatchObject({ outcome: 'throttled' })
    expect(await db.run(() => firstRow('select * from token_buckets'))).toEqual(before)
    expect(await count('token_reservations')).toBe(1)
  })

  it('does not take text for a number that is none', async () => {
    const { db, buckets } = await onSqlite()
    await using _ = db
    await buckets.reserve('api', claim('k'))
    for (const text of ['', 'NaN', '1e999', 'many']) {
      await db.run(() => execute('update token_buckets set tokens = ?', text))
      await expect(buckets.reserve('api', claim('other'))).rejects.toMatchObject({ code: 'STORE_DAMAGED' })
    }
  })

  it('is not made without a database', () => {
    expect(() => sqlTokenBucketStore({} as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
