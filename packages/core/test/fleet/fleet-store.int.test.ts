import {
  fleetSchema,
  memoryBreakerStateStore,
  memoryTokenBucketStore,
  sqlBreakerStateStore,
  sqlTokenBucketStore
} from '@enablement/core/fleet'
import { postgresDatabase } from '@enablement/core/postgres'
import { clusterSettings, createScriptRunner, hashTagged, redisSettings } from '@enablement/core/redis'
import { firstRow, migrate, type Sql, type SqlDatabase } from '@enablement/core/sql'
import {
  breakerStateStoreConformance,
  conformanceTests,
  redisBreakerStateStoreOnClock,
  redisTokenBucketStoreOnClock,
  seededRandom,
  tokenBucketStoreConformance,
  type VirtualClock,
  virtualClock,
  withStoreClock
} from '@enablement/core/testing'
import { test } from '@fast-check/vitest'
import { Cluster, Redis } from 'ioredis'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'
import { expectProcessesToAgree } from './sharing-processes.ts'
import { breakerHistory, bucketHistory, playBreaker, playBucket, START_AT } from './store-histories.ts'

const scale = inject('scale')
const SOAK_MS = 600_000
const { signal } = new AbortController()
const run = `${process.pid}-${process.hrtime.bigint()}`
let names = 0
const freshName = (): string => {
  names += 1
  return `fleet-${run}-${names}`
}

/** The model of the same clock, which is set as the history goes. */
const models = (clock: { now(): number }) => {
  const platform = { clock: { ...virtualClock(), now: () => clock.now() }, random: seededRandom(1) }
  return { breakers: memoryBreakerStateStore({ platform }), buckets: memoryTokenBucketStore({ platform }) }
}

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('fleet stores on %s', (_name, connect) => {
  const clients: (Redis | Cluster)[] = Array.from({ length: 9 }, () => connect())
  const client = clients[0] as Redis | Cluster

  beforeAll(async () => {
    await Promise.all(clients.map((one) => createScriptRunner(one).checkServer()))
  })
  afterAll(() => {
    for (const one of clients) one.disconnect()
  })

  const creating =
    <Store>(make: (on: Redis | Cluster, clock: { now(): number }) => Store) =>
    async () => {
      const clock = virtualClock()
      let used = 0
      const another = async () => {
        used += 1
        return make(clients[used % clients.length] as Redis | Cluster, clock)
      }
      const store = make(client, clock)
      return { store, clock, name: freshName(), another, [Symbol.asyncDispose]: async () => {} }
    }

  describe('breaker state store', () => {
    const create = creating(redisBreakerStateStoreOnClock)
    for (const { name, run: examine } of conformanceTests(breakerStateStoreConformance, { create, supports: {} })) {
      it(name, examine)
    }
  })

  describe('token bucket store', () => {
    const create = creating(redisTokenBucketStoreOnClock)
    for (const { name, run: examine } of conformanceTests(tokenBucketStoreConformance, { create, supports: {} })) {
      it(name, examine)
    }
  })

  test.prop([breakerHistory], { numRuns: Math.ceil(30 * scale) })(
    'answer for breakers as the model does',
    async (history) => {
      const clock = virtualClock({ now: START_AT })
      await playBreaker(history, clock, freshName(), [
        redisBreakerStateStoreOnClock(client, clock),
        models(clock).breakers
      ])
    },
    SOAK_MS
  )

  test.prop([bucketHistory], { numRuns: Math.ceil(30 * scale) })(
    'answer for buckets as the model does, to the last bit (pitfall 17)',
    async (history) => {
      const clock = virtualClock({ now: START_AT })
      await playBucket(history, clock, freshName(), [
        redisTokenBucketStoreOnClock(client, clock),
        models(clock).buckets
      ])
    },
    SOAK_MS
  )

  const levelKey = (bucket: string) => hashTagged({ prefix: 'enablement:bucket', tag: bucket, parts: ['level'] })
  const claimKey = (bucket: string, key: string) =>
    hashTagged({ prefix: 'enablement:bucket', tag: bucket, parts: ['claim', key] })
  const breakerKey = (name: string) => hashTagged({ prefix: 'enablement:breaker', tag: name })

  it("counts by the server's clock when it is given none (pitfall 17)", async () => {
    const bucket = freshName()
    const store = redisTokenBucketStoreOnClock(client)
    const claim = { rule: { perSecond: 1_000, burst: 10 }, tokens: 10, waitMaxMs: 0 }
    expect(await store.reserve(bucket, { ...claim, idempotencyKey: 'first' })).toMatchObject({ outcome: 'reserved' })
    let answer = await store.reserve(bucket, { ...claim, idempotencyKey: 'second' })
    while (answer.outcome !== 'reserved') answer = await store.reserve(bucket, { ...claim, idempotencyKey: 'second' })
    const breakers = redisBreakerStateStoreOnClock(client)
    const name = freshName()
    const opened = await breakers.open(name, { generation: 0, breaks: 1, breakMs: 20, breakLeftMs: 20 })
    expect(opened.generation).toBeGreaterThan(Date.UTC(2026, 0, 1) * 1_000)
    let claimed = await breakers.claimProbe(name, { generation: opened.generation, owner: 'one', leaseMs: 1_000 })
    while (claimed.outcome !== 'granted') {
      claimed = await breakers.claimProbe(name, { generation: opened.generation, owner: 'one', leaseMs: 1_000 })
    }
    expect(claimed.standing.generation).toBeGreaterThan(opened.generation)
  })

  it('leave no key for ever: a bucket until it is full, a claim for 30 s, a breaker for 30 days', async () => {
    const bucket = freshName()
    const store = redisTokenBucketStoreOnClock(client)
    await store.reserve(bucket, { rule: { perSecond: 1, burst: 60 }, tokens: 60, waitMaxMs: 0, idempotencyKey: 'k' })
    for (const [key, most] of [
      [levelKey(bucket), 61_000],
      [claimKey(bucket, 'k'), 30_000]
    ] as const) {
      const left = await client.pttl(key)
      expect(left).toBeGreaterThan(most - 20_000)
      expect(left).toBeLessThanOrEqual(most)
    }
    const name = freshName()
    await redisBreakerStateStoreOnClock(client).open(name, { generation: 0, breaks: 1, breakMs: 5, breakLeftMs: 5 })
    const left = await client.pttl(breakerKey(name))
    expect(left).toBeGreaterThan(29 * 86_400_000)
    expect(left).toBeLessThanOrEqual(30 * 86_400_000)
  })

  it('write nothing for a claim that is refused', async () => {
    const bucket = freshName()
    const store = redisTokenBucketStoreOnClock(client)
    const claim = { rule: { perSecond: 1, burst: 60 }, waitMaxMs: 0 }
    await store.reserve(bucket, { ...claim, tokens: 60, idempotencyKey: 'k' })
    const before = await client.hgetall(levelKey(bucket))
    await store.reserve(bucket, { ...claim, tokens: 30, idempotencyKey: 'refused' })
    expect(await client.hgetall(levelKey(bucket))).toEqual(before)
    expect(await client.exists(claimKey(bucket, 'refused'))).toBe(0)
  })

  it('touch nothing when a key holds something else', async () => {
    const buckets = redisTokenBucketStoreOnClock(client)
    const breakers = redisBreakerStateStoreOnClock(client)
    const name = freshName()
    const claim = { rule: { perSecond: 1, burst: 1 }, tokens: 1, waitMaxMs: 0, idempotencyKey: 'k' }
    for (const key of [levelKey(name), claimKey(name, 'k'), breakerKey(name)]) await client.set(key, 'a string')
    await expect(buckets.reserve(name, claim)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await expect(buckets.cancel(name, 'k')).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await expect(breakers.read(name)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await client.del(levelKey(name), claimKey(name, 'k'))
    await client.hset(levelKey(name), 'born_at', '0', 'tokens', 'nan')
    await expect(buckets.reserve(name, claim)).rejects.toMatchObject({
      code: 'SCRIPT_FAILED',
      detail: { reply: 'ERR' }
    })
    await client.del(breakerKey(name))
    await client.hset(breakerKey(name), 'generation', '-1', 'state', 'ajar')
    await expect(breakers.reset(name)).rejects.toMatchObject({ code: 'SCRIPT_FAILED', detail: { reply: 'ERR' } })
    expect(await client.hgetall(breakerKey(name))).toEqual({ generation: '-1', state: 'ajar' })
  })
})

describe('processes that share a breaker in Redis', () => {
  it('agree on a break and one probe, also when the one that probes is killed', async () => {
    await expectProcessesToAgree('redis', inject('redisUrl'), freshName())
  })
})

describe('fleet stores on Postgres', () => {
  const schemas = testSchemas()
  afterAll(() => schemas.drop())

  let db: SqlDatabase
  let pool: pg.Pool
  beforeAll(async () => {
    // A pool gives each unit under way a connection of its own.
    pool = await schemas.pool({ max: 9 })
    db = postgresDatabase(pool)
    await migrate(db, [fleetSchema])
  })

  const creating =
    <Store>(make: (on: SqlDatabase) => Store) =>
    async () => {
      const clock = virtualClock()
      const store = make(withStoreClock(db, clock))
      return { store, clock, name: freshName(), another: async () => store, [Symbol.asyncDispose]: async () => {} }
    }

  describe('breaker state store', () => {
    const create = creating((on) => sqlBreakerStateStore({ db: on }))
    for (const { name, run: examine } of conformanceTests(breakerStateStoreConformance, { create, supports: {} })) {
      it(name, examine)
    }
  })

  describe('token bucket store', () => {
    const create = creating((on) => sqlTokenBucketStore({ db: on }))
    for (const { name, run: examine } of conformanceTests(tokenBucketStoreConformance, { create, supports: {} })) {
      it(name, examine)
    }
  })

  /**
   * Makes a call whose unit stops after its first statement, until `meanwhile` has ended or waits for what the unit has
   * locked.
   */
  async function stopped<T>(
    clock: VirtualClock,
    call: (on: SqlDatabase) => Promise<T>,
    meanwhile: () => Promise<unknown>
  ): Promise<T> {
    const gate = Number(process.hrtime.bigint() % 2_000_000_000n)
    function* stopping<R>(unit: Sql<R>): Sql<R> {
      let step = unit.next()
      for (let at = 0; step.done !== true; at++) {
        const result = yield step.value
        if (at === 0) yield* firstRow('select 1 as passed from pg_advisory_xact_lock(?)', gate)
        step = unit.next(result)
      }
      return step.value
    }
    const onClock = withStoreClock(db, clock)
    const holder = await pool.connect()
    const somebodyWaits = async (forWhat: string): Promise<void> => {
      const waiting = async () => (await holder.query(`select 1 from pg_locks where not granted and ${forWhat}`)).rows
      while ((await waiting()).length === 0);
    }
    try {
      await holder.query('select pg_advisory_lock($1)', [gate])
      const called = call({ ...onClock, run: (work, options) => onClock.run(() => stopping(work()), options) })
      await somebodyWaits(`locktype = 'advisory' and objid = ${gate}`)
      const done = meanwhile()
      await Promise.race([done, somebodyWaits("locktype in ('transactionid', 'tuple')")])
      await holder.query('select pg_advisory_unlock($1)', [gate])
      return (await Promise.all([called, done]))[0]
    } finally {
      holder.release(true)
    }
  }

  it('lose no tokens that are taken while a sweep forgets their bucket', async () => {
    const clock = virtualClock({ now: START_AT })
    const store = sqlTokenBucketStore({ db: withStoreClock(db, clock) })
    const name = freshName()
    const claim = { rule: { perSecond: 1, burst: 1 }, tokens: 1, waitMaxMs: 0 }
    await store.reserve(name, { ...claim, idempotencyKey: 'before' })
    clock.jumpWallTo(clock.now() + 300_000)
    await stopped(
      clock,
      (on) => sqlTokenBucketStore({ db: on }).reserve(name, { ...claim, idempotencyKey: 'taken' }),
      () => store.sweep.run({ signal })
    )
    expect(await store.reserve(name, { ...claim, idempotencyKey: 'too many' })).toMatchObject({ outcome: 'throttled' })
  })

  it('lose no break that begins while a sweep forgets its breaker', async () => {
    const clock = virtualClock({ now: START_AT })
    const store = sqlBreakerStateStore({ db: withStoreClock(db, clock) })
    const name = freshName()
    const opening = { breaks: 1, breakMs: 60_000, breakLeftMs: 60_000 }
    await store.open(name, { ...opening, generation: 0 })
    clock.jumpWallTo(clock.now() + 31 * 86_400_000)
    const { generation } = await store.read(name)
    await stopped(
      clock,
      (on) => sqlBreakerStateStore({ db: on }).open(name, { ...opening, generation }),
      () => store.sweep.run({ signal })
    )
    expect(await store.read(name)).toMatchObject({ state: 'open', breakLeftMs: 60_000 })
  })

  test.prop([breakerHistory], { numRuns: Math.ceil(15 * scale) })(
    'answer for breakers as the model does',
    async (history) => {
      const clock = virtualClock({ now: START_AT })
      const store = sqlBreakerStateStore({ db: withStoreClock(db, clock) })
      await playBreaker(history, clock, freshName(), [store, models(clock).breakers])
    },
    SOAK_MS
  )

  test.prop([bucketHistory], { numRuns: Math.ceil(15 * scale) })(
    'answer for buckets as the model does',
    async (history) => {
      const clock = virtualClock({ now: START_AT })
      const store = sqlTokenBucketStore({ db: withStoreClock(db, clock) })
      await playBucket(history, clock, freshName(), [store, models(clock).buckets])
    },
    SOAK_MS
  )
})
