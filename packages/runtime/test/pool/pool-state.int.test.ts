import { clusterSettings, createScriptRunner, hashTagged, redisSettings } from '@enablement/core/redis'
import { conformanceTests, virtualClock } from '@enablement/core/testing'
import { memoryPoolState } from '@enablement/runtime/memory'
import { redisPoolState } from '@enablement/runtime/redis'
import { type CreatePoolState, poolStateConformance, redisPoolStateOnClock } from '@enablement/runtime/testing'
import { test } from '@fast-check/vitest'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { expectAlike, history } from './pool-history.ts'

const scale = inject('scale')
const START_AT = Date.UTC(2040, 0)
const run = `${process.pid}-${process.hrtime.bigint()}`
let pools = 0
const freshPool = (): string => {
  pools += 1
  return `pool-${run}-${pools}`
}

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('the pool state on %s', (_name, connect) => {
  const clients: (Redis | Cluster)[] = [connect(), connect()]
  const [client, second] = clients as [Redis | Cluster, Redis | Cluster]
  const keyOf = (pool: string): string => hashTagged({ prefix: 'enablement:pool', tag: pool })

  beforeAll(async () => {
    await Promise.all(clients.map((one) => createScriptRunner(one).checkServer()))
  })
  afterAll(() => {
    for (const one of clients) one.disconnect()
  })

  const create: CreatePoolState = async () => {
    let now = START_AT
    const clock = { now: () => now }
    return {
      store: redisPoolStateOnClock(client, clock),
      pool: freshPool(),
      another: async () => redisPoolStateOnClock(second, clock),
      pass: (durationMs) => {
        now += durationMs
      },
      [Symbol.asyncDispose]: async () => undefined
    }
  }
  for (const { name, run: examine } of conformanceTests(poolStateConformance, { create, supports: {} }))
    it(name, examine)

  test.prop([history], { numRuns: Math.ceil(40 * scale) })(
    'answers as the model does',
    async (steps) => {
      let redisMs = START_AT
      let modelMs = 0
      const pool = freshPool()
      const redis = {
        store: redisPoolStateOnClock(client, { now: () => redisMs }),
        pass: (durationMs: number) => {
          redisMs += durationMs
        }
      }
      const clock = virtualClock()
      const model = {
        store: memoryPoolState({ clock: { ...clock, monotonic: () => modelMs } }),
        pass: (durationMs: number) => {
          modelMs += durationMs
        }
      }
      await expectAlike(steps, pool, [model, redis])
      await client.del(keyOf(pool))
    },
    600_000
  )

  const exchange = {
    member: 'a',
    sequence: 1,
    leaseMs: 5_000,
    kind: 'join' as const,
    wanted: 0,
    rules: {
      capacity: 1,
      coldMax: 0,
      tenantMax: 1,
      queueMax: 1,
      agingMs: 1,
      preemptionsPerMinute: 0,
      cooldownMs: 0
    },
    stock: { ready: 0, starting: 0, closing: 0 },
    commands: [
      {
        type: 'enter' as const,
        claim: 'c',
        tenant: 't',
        priority: 0,
        creditMs: 0,
        preemptible: true,
        shieldMs: 0
      }
    ]
  }

  it('keeps a pool for a day after its last lease, by the server’s clock, and no longer', async () => {
    const pool = freshPool()
    await redisPoolState(client).exchange(pool, exchange)
    const keptMs = await client.pttl(keyOf(pool))
    expect(keptMs).toBeGreaterThan(86_400_000)
    expect(keptMs).toBeLessThanOrEqual(86_400_000 + 5_000)
  })

  it('touches nothing when the key holds something else, or a row that is none', async () => {
    const store = redisPoolState(client)
    const pool = freshPool()
    await client.set(keyOf(pool), 'a string')
    await expect(store.exchange(pool, exchange)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    expect(await client.get(keyOf(pool))).toBe('a string')
    for (const [field, value] of [
      ['m:b', '1\n2'],
      ['c:x', 'nonsense'],
      ['q:y', 'gone\nacme\n0\n0\n0\n1\n0'],
      ['fence', '1e3']
    ] as const) {
      await client.del(keyOf(pool))
      await client.hset(keyOf(pool), field, value)
      await expect(store.exchange(pool, exchange)).rejects.toMatchObject({
        code: 'SCRIPT_FAILED',
        detail: { reply: 'ERR' }
      })
      expect(await client.hgetall(keyOf(pool))).toEqual({ [field]: value })
    }
  })

  it('is unavailable when the connection is gone', async () => {
    const gone = connect()
    const store = redisPoolState(gone)
    await store.checkServer()
    gone.disconnect()
    await expect(store.exchange(freshPool(), exchange)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })
})
