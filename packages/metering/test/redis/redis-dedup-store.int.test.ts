import { clusterSettings, hashTagged, redisSettings } from '@enablement/core/redis'
import { conformanceTests, virtualClock } from '@enablement/core/testing'
import type { DedupClaim } from '@enablement/metering'
import { redisDedupStore } from '@enablement/metering/redis'
import { dedupStoreConformance, redisDedupStoreOnClock } from '@enablement/metering/testing'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

const DAY_MS = 86_400_000
const WIDTH_MS = DAY_MS / 2
const START_AT = Date.UTC(2040, 0)

const run = `${process.pid}-${process.hrtime.bigint()}`
let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `dedup-${run}-${tenants}`
}

const claimOf = (tenant: string, changed: Partial<DedupClaim> = {}): DedupClaim => ({
  tenant,
  subscription: 'sub',
  transactionId: 'call',
  payloadHash: 'a0'.repeat(32),
  receivedAt: 1_000,
  ...changed
})

const bucketOf = (tenant: string, bucket: number): string =>
  hashTagged({ prefix: 'enablement:dedup', tag: tenant, parts: [String(WIDTH_MS), String(bucket)] })

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('the dedup store on %s', (_name, connect) => {
  let client: Redis | Cluster
  let other: Redis | Cluster

  beforeAll(async () => {
    client = connect()
    other = connect()
    await Promise.all([client, other].map((one) => redisDedupStore(one).checkServer()))
  })
  afterAll(() => {
    for (const one of [client, other]) one.disconnect()
  })

  const stage = (from: Redis | Cluster = client) => {
    const clock = virtualClock({ now: START_AT })
    return { store: redisDedupStoreOnClock(from, clock, { ttlMs: DAY_MS }), clock, tenant: freshTenant() }
  }
  const create = async () => ({ ...stage(), [Symbol.asyncDispose]: async () => {} })
  for (const { name, run: exam } of conformanceTests(dedupStoreConformance, { create, supports: {} })) it(name, exam)

  it('gives an identity once to several processes, by the server’s own clock', async () => {
    const tenant = freshTenant()
    const stores = [redisDedupStore(client), redisDedupStore(other)]
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        (stores[at % 2] as (typeof stores)[number]).claim([claimOf(tenant, { receivedAt: at })])
      )
    )
    expect(answers.filter(([answer]) => answer?.outcome === 'new')).toHaveLength(1)
  })

  it('takes what comes within a turn to the server in one call, and what comes meanwhile in the next', async () => {
    const { store, tenant } = stage()
    // The first call learns which bucket of time it is.
    await store.claim([claimOf(tenant)])
    const calls: number[] = []
    let underWay = 0
    const { evalsha } = client
    client.evalsha = (async (...args: Parameters<Redis['evalsha']>) => {
      calls.push(String(args.at(-1)).length / 52)
      underWay += 1
      expect(underWay).toBe(1)
      return await evalsha.apply(client, args).finally(() => {
        underWay -= 1
      })
    }) as Redis['evalsha']
    try {
      const first = Array.from({ length: 300 }, (_, at) => store.claim([claimOf(tenant, { transactionId: `a${at}` })]))
      await new Promise((resolve) => setImmediate(resolve))
      const second = Array.from({ length: 100 }, (_, at) =>
        store.settle([claimOf(tenant, { transactionId: `b${at}` })])
      )
      await Promise.all([...first, ...second])
      expect(calls).toEqual([300, 100])
      await Promise.all(
        Array.from({ length: 3 }, (_, part) =>
          store.claim(Array.from({ length: 400 }, (_, at) => claimOf(tenant, { transactionId: `c${part}-${at}` })))
        )
      )
      expect(calls.slice(2)).toEqual([800, 400])
    } finally {
      client.evalsha = evalsha
    }
  })

  it('gives each caller of a shared call its own answers, in whichever order they come', async () => {
    const { store, tenant } = stage()
    await store.settle([claimOf(tenant, { transactionId: 'old' })])
    const [, answers, , others] = await Promise.all([
      store.settle([claimOf(tenant, { transactionId: 'a' }), claimOf(tenant, { transactionId: 'b' })]),
      store.claim([claimOf(tenant, { transactionId: 'old' }), claimOf(tenant, { transactionId: 'c' })]),
      store.release([claimOf(tenant, { transactionId: 'c' })]),
      store.claim([claimOf(tenant, { transactionId: 'c', receivedAt: 9 }), claimOf(tenant, { transactionId: 'a' })])
    ])
    const duplicate = { outcome: 'duplicate', firstReceivedAt: 1_000 }
    expect([answers, others]).toEqual([
      [duplicate, { outcome: 'new' }],
      [{ outcome: 'new' }, duplicate]
    ])
    expect(await store.claim([claimOf(tenant, { transactionId: 'c' })])).toEqual([
      { outcome: 'pending', firstReceivedAt: 9 }
    ])
  })

  it('keeps 48 bytes of a counted identity, 52 of a claimed one, and nothing of its text', async () => {
    const { store, tenant } = stage()
    const claims = [claimOf(tenant, { transactionId: 'secret '.repeat(30), receivedAt: START_AT })]
    const kept = async () => Object.entries(await client.hgetall(bucketOf(tenant, START_AT / WIDTH_MS)))
    const field = expect.stringMatching(/^[\w-]{22}$/)
    await store.claim(claims)
    expect(await kept()).toEqual([[field, expect.stringMatching(/^(?:a0){8}[0-9a-z]{10}[\w-]{4}$/)]])
    await store.settle(claims)
    expect(await kept()).toEqual([[field, expect.stringMatching(/^(?:a0){8}[0-9a-z]{10}$/)]])
  })

  it('lets a bucket expire a day after its last identity is needed, and drops it when it is not', async () => {
    const { store, clock, tenant } = stage()
    const bucket = START_AT / WIDTH_MS
    await store.claim([claimOf(tenant)])
    expect(await client.pexpiretime(bucketOf(tenant, bucket))).toBe((bucket + 3) * WIDTH_MS + DAY_MS)
    clock.jumpWallTo(START_AT + 3 * WIDTH_MS - 1)
    await store.claim([claimOf(tenant, { transactionId: 'later' })])
    expect(await client.exists(bucketOf(tenant, bucket))).toBe(1)
    clock.jumpWallTo(START_AT + 3 * WIDTH_MS)
    await store.claim([claimOf(tenant, { transactionId: 'latest' })])
    expect(await client.exists(bucketOf(tenant, bucket))).toBe(0)
  })

  it('finds the server’s bucket although its own clock is years off', async () => {
    const tenant = freshTenant()
    const clock = virtualClock({ now: Date.UTC(2001, 0) })
    const platform = { clock, random: { float: () => 0, below: () => 7, fill: <T>(target: T) => target } }
    const store = redisDedupStore(client, { ttlMs: DAY_MS, platform })
    expect(await store.claim([claimOf(tenant)])).toEqual([{ outcome: 'new' }])
    expect(await redisDedupStore(other, { ttlMs: DAY_MS }).claim([claimOf(tenant)])).toEqual([
      { outcome: 'pending', firstReceivedAt: 1_000 }
    ])
  })

  it('answers a batch that the client sent twice as it did the first time', async () => {
    const { store, tenant } = stage()
    const claims = [claimOf(tenant), claimOf(tenant), claimOf(tenant, { transactionId: 'b', receivedAt: 5 })]
    const { evalsha } = client
    client.evalsha = (async (...args: Parameters<Redis['evalsha']>) => {
      await evalsha.apply(client, args)
      return evalsha.apply(client, args)
    }) as Redis['evalsha']
    let answers: unknown
    try {
      // The server has to know the script before it is sent twice by its hash.
      await store.claim([claimOf(tenant, { transactionId: 'first' })])
      answers = await store.claim(claims)
    } finally {
      client.evalsha = evalsha
    }
    expect(answers).toEqual([{ outcome: 'new' }, { outcome: 'pending', firstReceivedAt: 1_000 }, { outcome: 'new' }])
    expect(await store.claim(claims)).toMatchObject([
      { outcome: 'pending' },
      { outcome: 'pending' },
      { outcome: 'pending', firstReceivedAt: 5 }
    ])
  })

  it('says that it does not know when a reply is lost, and the retry goes to the ledger', async () => {
    const { store, tenant } = stage()
    await store.claim([claimOf(tenant, { transactionId: 'first' })])
    const { evalsha } = client
    client.evalsha = (async (...args: Parameters<Redis['evalsha']>) => {
      await evalsha.apply(client, args)
      throw new Error('Connection is closed.')
    }) as unknown as Redis['evalsha']
    try {
      await expect(store.claim([claimOf(tenant)])).rejects.toMatchObject({ name: 'CoreError' })
    } finally {
      client.evalsha = evalsha
    }
    expect(await store.claim([claimOf(tenant, { receivedAt: 2_000 })])).toEqual([
      { outcome: 'pending', firstReceivedAt: 1_000 }
    ])
  })

  it('goes on after SCRIPT FLUSH', async () => {
    const { store, tenant } = stage()
    await store.settle([claimOf(tenant)])
    const nodes = client instanceof Redis ? [client] : client.nodes('master')
    await Promise.all(nodes.map((node) => node.script('FLUSH')))
    expect(await store.claim([claimOf(tenant)])).toEqual([{ outcome: 'duplicate', firstReceivedAt: 1_000 }])
  })

  it.each([
    ['a key of another type', async (key: string) => client.set(key, 'foreign')],
    [
      'a value that is none',
      async (key: string) => {
        const [identity = ''] = await client.hkeys(key)
        await client.hset(key, identity, 'foreign')
      }
    ]
  ])('writes nothing when it meets %s', async (_what, spoil) => {
    const { store, clock, tenant } = stage()
    const bucket = bucketOf(tenant, START_AT / WIDTH_MS)
    await store.claim([claimOf(tenant)])
    await spoil(bucket)
    clock.jumpWallTo(START_AT + WIDTH_MS)
    const claims = [claimOf(tenant, { transactionId: 'b' }), claimOf(tenant)]
    await expect(store.claim(claims)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await expect(store.settle(claims)).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    expect(await client.exists(bucketOf(tenant, START_AT / WIDTH_MS + 1))).toBe(0)
    await client.del(bucket)
    expect(await store.claim(claims)).toEqual([{ outcome: 'new' }, { outcome: 'new' }])
  })

  it('throws when the connection is gone', async () => {
    const gone = connect()
    const store = redisDedupStore(gone)
    await store.checkServer()
    gone.disconnect()
    await expect(store.claim([claimOf(freshTenant())])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  it('does not send what its caller gave up before its turn, and the others’ answers stay theirs', async () => {
    const { store, tenant } = stage()
    const abortion = new AbortController()
    const given = store.claim([claimOf(tenant, { transactionId: 'a' })])
    const up = store.claim([claimOf(tenant, { transactionId: 'b' })], { signal: abortion.signal })
    const other = store.claim([claimOf(tenant, { transactionId: 'c', receivedAt: 3 })])
    abortion.abort(new Error('enough'))
    await expect(up).rejects.toThrow('enough')
    expect(await Promise.all([given, other])).toEqual([[{ outcome: 'new' }], [{ outcome: 'new' }]])
    expect(await store.claim([claimOf(tenant, { transactionId: 'b' })])).toEqual([{ outcome: 'new' }])
  })

  it('refuses more than it may keep waiting, and takes as many again when they are done or given up', async () => {
    const { store, tenant } = stage()
    const claims = Array.from({ length: 1_000 }, (_, at) => claimOf(tenant, { transactionId: `${at}` }))
    const overloaded = { reason: { code: 'OVERLOADED', detail: { limit: 100_000 } } }
    for (let round = 0; round < 2; round++) {
      const abortion = new AbortController()
      const givenUp = Array.from({ length: 90 }, () => store.release(claims, { signal: abortion.signal }))
      const calls = Array.from({ length: 11 }, () => store.release(claims))
      abortion.abort('enough')
      const [gaveUp, settled] = await Promise.all([Promise.allSettled(givenUp), Promise.allSettled(calls)])
      expect(gaveUp.every(({ status }) => status === 'rejected')).toBe(true)
      expect(settled.filter(({ status }) => status === 'rejected')).toMatchObject([overloaded])
    }
  })

  it.each([{ ttlMs: 0 }, { ttlMs: 1.5 }, { ttl: DAY_MS }])('refuses %o', (wrong) => {
    expect(() => redisDedupStore(client, wrong as object)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
