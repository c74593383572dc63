import {
  admitFence,
  createLock,
  type LeaseClaim,
  type LockStore,
  lockSchema,
  memoryLockStore,
  sqlLockStore
} from '@enablement/core/lock'
import { postgresDatabase } from '@enablement/core/postgres'
import { clusterSettings, createScriptRunner, hashTagged, redisSettings } from '@enablement/core/redis'
import { execute, integerOf, migrate, rows, type SqlDatabase } from '@enablement/core/sql'
import {
  type CreateLockStore,
  conformanceTests,
  lockStoreConformance,
  redisLockStoreOnClock,
  seededRandom,
  virtualClock,
  withStoreClock
} from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'

const scale = inject('scale')
const run = `${process.pid}-${process.hrtime.bigint()}`
let names = 0
const freshName = (): string => {
  names += 1
  return `lock-${run}-${names}`
}

/** 2040-01-01: the keys of a clock that shows less would be gone at once. */
const START_AT = Date.UTC(2040, 0, 1)

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    call: fc.constantFrom('acquire', 'extend', 'release'),
    owner: fc.constantFrom('one', 'two', 'three'),
    ttlMs: fc.integer({ min: 50, max: 400 }),
    /** How far the store's clock has moved since the last call, mostly ahead. */
    passedMs: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 0, max: 300 }) }, fc.integer({ min: -500, max: 0 }))
  }),
  { minLength: 1, maxLength: 40 }
)

interface Step {
  readonly call: 'acquire' | 'extend' | 'release'
  readonly owner: string
  readonly ttlMs: number
  readonly passedMs: number
}

const answerOf = (store: LockStore, call: Step['call'], claim: LeaseClaim) =>
  call === 'acquire' ? store.acquire(claim) : store[call](claim)

/** Plays the same calls on a store and on the model, and expects the same answers, fences included. */
async function expectLikeModel(
  makeStore: (clock: { now(): number }) => Promise<LockStore> | LockStore,
  history: readonly Step[]
): Promise<void> {
  const clock = virtualClock({ now: START_AT })
  const store = await makeStore(clock)
  const model = memoryLockStore({ platform: { clock, random: seededRandom(1) } })
  const name = freshName()
  for (const { call, owner, ttlMs, passedMs } of history) {
    clock.jumpWallTo(clock.now() + passedMs)
    const claim = { name, owner, ttlMs }
    expect(await answerOf(store, call, claim)).toEqual(await answerOf(model, call, claim))
  }
}

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('the lock store on %s', (_name, connect) => {
  const clients: (Redis | Cluster)[] = Array.from({ length: 9 }, () => connect())
  const client = clients[0] as Redis | Cluster
  const keyOf = (name: string): string => hashTagged({ prefix: 'enablement:lock', tag: name })

  beforeAll(async () => {
    await Promise.all(clients.map((one) => createScriptRunner(one).checkServer()))
  })
  afterAll(() => {
    for (const one of clients) one.disconnect()
  })

  const create: CreateLockStore = async () => {
    const clock = virtualClock()
    let used = 0
    const another = async () => {
      used += 1
      return redisLockStoreOnClock(clients[used % clients.length] as Redis | Cluster, clock)
    }
    return {
      store: redisLockStoreOnClock(client, clock),
      clock,
      name: freshName(),
      another,
      [Symbol.asyncDispose]: async () => {}
    }
  }
  for (const { name, run } of conformanceTests(lockStoreConformance, { create, supports: {} })) it(name, run)

  test.prop([steps], { numRuns: Math.ceil(30 * scale) })(
    'answers as the model does',
    (history) => expectLikeModel((clock) => redisLockStoreOnClock(client, clock), history),
    600_000
  )

  it('gives a higher fence when the server has lost the lock and its fence', async () => {
    const store = redisLockStoreOnClock(client)
    const name = freshName()
    const fences: number[] = []
    for (let round = 0; round < 5; round++) {
      const answer = await store.acquire({ name, owner: `owner-${round}`, ttlMs: 60_000 })
      fences.push(answer.outcome === 'granted' ? answer.fence : 0)
      await client.del(keyOf(name))
      // Of a loss within the millisecond of the grant the clock cannot tell; the server needs longer to fail over.
      await until(async () => (await serverNow()) > (fences.at(-1) as number) / 1_000)
    }
    expect(fences.filter((fence, at) => at > 0 && fence <= (fences[at - 1] as number))).toEqual([])
  })

  it('keeps the fence of a lock that nobody holds, for 30 days and no longer', async () => {
    const store = redisLockStoreOnClock(client)
    const name = freshName()
    await store.acquire({ name, owner: 'one', ttlMs: 60_000 })
    await store.release({ name, owner: 'one' })
    const keptMs = await client.pttl(keyOf(name))
    expect(keptMs).toBeGreaterThan(29 * 86_400_000)
    expect(keptMs).toBeLessThanOrEqual(30 * 86_400_000 + 60_000)
  })

  it('touches nothing when the key holds something else', async () => {
    const store = redisLockStoreOnClock(client)
    const claim = { name: freshName(), owner: 'one', ttlMs: 60_000 }
    await client.set(keyOf(claim.name), 'a string')
    await expect(store.acquire(claim)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await expect(store.extend(claim)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await expect(store.release(claim)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    expect(await client.get(keyOf(claim.name))).toBe('a string')
    await client.del(keyOf(claim.name))
    await client.hset(keyOf(claim.name), 'owner', 'one', 'fence', '1e3', 'expires', '0')
    await expect(store.acquire(claim)).rejects.toMatchObject({ code: 'SCRIPT_FAILED', detail: { reply: 'ERR' } })
    expect(await client.hget(keyOf(claim.name), 'fence')).toBe('1e3')
  })

  it("lets eight clients that wait in one at a time, on the server's clock", async () => {
    await expectTurns(clients.slice(1).map((one) => redisLockStoreOnClock(one)))
  })

  it('is unavailable when the connection is gone', async () => {
    const gone = connect()
    await createScriptRunner(gone).checkServer()
    const store = redisLockStoreOnClock(gone)
    const claim = { name: freshName(), owner: 'one', ttlMs: 60_000 }
    await store.acquire(claim)
    gone.disconnect()
    await expect(store.extend(claim)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await expect(createLock({ store }).acquire(claim.name, { ttlMs: 60_000 })).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE'
    })
  })

  const serverNow = async (): Promise<number> => {
    const node = client instanceof Cluster ? (client.nodes('master')[0] as Redis) : client
    const [seconds, microseconds] = await node.time()
    return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000)
  }
})

describe('the lock store on Postgres', () => {
  const schemas = testSchemas()
  afterAll(() => schemas.drop())

  let server: SqlDatabase
  beforeAll(async () => {
    server = postgresDatabase(await schemas.pool({ max: 9 }))
    await migrate(server, [lockSchema])
  })

  const create: CreateLockStore = async () => {
    const clock = virtualClock()
    const store = sqlLockStore({ db: withStoreClock(server, clock) })
    // A pool gives each unit under way a connection of its own.
    return { store, clock, name: freshName(), another: async () => store, [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(lockStoreConformance, { create, supports: {} })) it(name, run)

  describe('over many calls', () => {
    let store: LockStore
    let clock = virtualClock({ now: START_AT })
    beforeAll(async () => {
      const db = withStoreClock(postgresDatabase(await schemas.pool()), { ...clock, now: () => clock.now() })
      await migrate(db, [lockSchema])
      store = sqlLockStore({ db })
    })

    test.prop([steps], { numRuns: Math.ceil(20 * scale) })(
      'answers as the model does',
      (history) =>
        expectLikeModel((current) => {
          clock = current as typeof clock
          return store
        }, history),
      600_000
    )
  })

  it("lets eight clients that wait in one at a time, on the server's clock", async () => {
    const db = postgresDatabase(await schemas.pool({ max: 9 }))
    await migrate(db, [lockSchema])
    await expectTurns(Array.from({ length: 8 }, () => sqlLockStore({ db })))
  })
})

describe('a fenced resource on Postgres', () => {
  const schemas = testSchemas()
  afterAll(() => schemas.drop())

  it('takes writes in the order of their fences from holders that arrive at once and in any order', async () => {
    const db = postgresDatabase(await schemas.pool({ max: 16 }))
    await migrate(db, [lockSchema])
    await db.run(() => execute('create table writes (id bigserial primary key, fence bigint not null)'))
    const random = seededRandom(7)
    const fences = Array.from({ length: 200 }, (_, at) => ({ fence: at + 1, order: random.float() }))
    fences.sort((one, other) => one.order - other.order)
    const outcomes = await Promise.all(
      fences.map(({ fence }) =>
        db.run(function* () {
          const { outcome } = yield* admitFence('report', fence)
          if (outcome === 'admitted') yield* execute('insert into writes(fence) values (?)', fence)
          return outcome
        })
      )
    )
    const found = await db.run(() => rows('select fence from writes order by id'))
    const written = found.map((row) => integerOf(row, 'fence'))
    expect(written).toEqual([...written].sort((one, other) => one - other))
    expect(written).toHaveLength(outcomes.filter((outcome) => outcome === 'admitted').length)
    expect(written.at(-1)).toBe(200)
  })
})

/** Eight locks as in eight processes: each works three times, and nobody meets anybody. */
async function expectTurns(stores: readonly LockStore[]): Promise<void> {
  const name = freshName()
  const fences: number[] = []
  let inside = 0
  await Promise.all(
    stores.map(async (store) => {
      const lock = createLock({ store, pollMs: 5, ttlMs: 10_000 })
      for (let round = 0; round < 3; round++) {
        const answer = await lock.withLock(
          name,
          async ({ fence }) => {
            inside += 1
            expect(inside).toBe(1)
            fences.push(fence)
            await store.extend({ name, owner: 'nobody', ttlMs: 60_000 })
            inside -= 1
          },
          { waitMs: 60_000 }
        )
        expect(answer.outcome).toBe('done')
      }
    })
  )
  expect(fences).toHaveLength(stores.length * 3)
  expect(fences).toEqual([...new Set(fences)].sort((one, other) => one - other))
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve))
}
