import { clusterSettings, hashTagged, redisSettings } from '@enablement/core/redis'
import { conformanceTests, virtualClock } from '@enablement/core/testing'
import { createQuotas, type QuotaSpend } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { quotaStoreConformance, redisQuotaStoreOnClock } from '@enablement/metering/testing'
import { fc, test } from '@fast-check/vitest'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { histories, playAtOnce, playInOrder } from '../quota/reference-quota.ts'

const run = `${process.pid}-${process.hrtime.bigint()}`
let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${run}-${tenants}`
}

const scale = inject('scale')

const spendOf = (tenant: string, spend: Partial<QuotaSpend> = {}): QuotaSpend => ({
  tenant,
  limit: 'units',
  quantity: 10,
  period: 'lifetime',
  amount: 1,
  idempotencyKey: 'call',
  idempotencyMs: 60_000,
  ...spend
})

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('the quota store on %s', (_name, connect) => {
  let client: Redis | Cluster
  let others: readonly (Redis | Cluster)[]

  beforeAll(async () => {
    client = connect()
    others = [connect(), connect(), connect()]
    await Promise.all([client, ...others].map((one) => redisQuotaStore(one).checkServer()))
  })
  afterAll(() => {
    for (const one of [client, ...others]) one.disconnect()
  })

  const create = async () => {
    const clock = virtualClock()
    const store = redisQuotaStoreOnClock(client, clock)
    return { store, clock, tenant: freshTenant(), [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)

  test.prop([histories], { numRuns: Math.ceil(30 * scale) })(
    'answers as the reference does',
    async (history) => {
      const clock = virtualClock()
      await playInOrder(redisQuotaStoreOnClock(client, clock), clock, freshTenant(), history)
    },
    600_000
  )

  test.prop([histories], { numRuns: Math.ceil(10 * scale) })(
    'never oversells to several connections',
    async (history) => {
      const clock = virtualClock()
      const stores = [client, ...others].map((one) => redisQuotaStoreOnClock(one, clock))
      let calls = 0
      const spread = {
        supports: { durable: 'none', shared: true } as const,
        consume: (spend: QuotaSpend) => {
          calls += 1
          return (stores[calls % stores.length] as (typeof stores)[number]).consume(spend)
        }
      }
      await playAtOnce(spread, clock, freshTenant(), history)
    },
    600_000
  )

  it.each([
    ['refuse', false],
    ['allow', true]
  ] as const)('is unavailable when the connection is gone, and %s means that', async (onStoreFailure, allowed) => {
    const gone = connect()
    const store = redisQuotaStore(gone)
    await store.checkServer()
    const limits = [{ name: 'units', quantity: 10, period: 'lifetime' as const }]
    const units = createQuotas({ store, limits, onStoreFailure }).bind({ tenant: freshTenant(), limit: 'units' })
    expect(await units.consume(1, { idempotencyKey: 'call' })).toMatchObject({ outcome: 'consumed', remaining: 9 })
    gone.disconnect()
    expect(await units.consume(1, { idempotencyKey: 'other' })).toMatchObject({
      outcome: 'unavailable',
      allowed,
      error: { code: 'STORE_FAILED', detail: { reason: 'STORE_UNAVAILABLE' } }
    })
  })

  it('takes its windows from the clock of the server', async () => {
    const tenant = freshTenant()
    const answer = await redisQuotaStore(client).consume(spendOf(tenant, { period: { everyMs: 3_600_000 } }))
    const key = hashTagged({ prefix: 'enablement:quota', tag: tenant, parts: ['units'] })
    const [seconds] = await (client instanceof Redis ? client : (client.nodes('master')[0] as Redis)).time()
    const ends = Number(await client.hget(key, 'ends'))
    expect(answer).toMatchObject({ outcome: 'consumed', resetsAt: ends })
    expect(ends % 3_600_000).toBe(0)
    expect(Math.abs(ends - Number(seconds) * 1000)).toBeLessThanOrEqual(3_660_000)
  })

  it('lets its keys expire, at an absolute time', async () => {
    const tenant = freshTenant()
    const store = redisQuotaStore(client)
    const answer = await store.consume(spendOf(tenant, { period: { everyMs: 60_000 }, idempotencyMs: 5_000 }))
    const counter = hashTagged({ prefix: 'enablement:quota', tag: tenant, parts: ['units'] })
    const expiresAt = await client.pexpiretime(counter)
    expect(answer).toMatchObject({ outcome: 'consumed', resetsAt: expiresAt - 86_400_000 })
    await store.consume(spendOf(tenant, { period: { everyMs: 60_000 }, idempotencyKey: 'another' }))
    expect(await client.pexpiretime(counter)).toBeGreaterThanOrEqual(expiresAt)
  })

  it.each([
    ['amount', { amount: 0 }],
    ['amount', { amount: -1 }],
    ['amount', { amount: 1.5 }],
    ['amount', { amount: Number.NaN }],
    ['amount', { amount: 9_000_000_000_000_001 }],
    ['quantity', { quantity: -1 }],
    ['memory', { idempotencyMs: 0 }],
    ['period', { period: { everyMs: 0 } }]
  ])('refuses an impossible %s inside the script or before, and writes nothing: %o', async (_what, wrong) => {
    const tenant = freshTenant()
    const store = redisQuotaStore(client)
    await expect(store.consume(spendOf(tenant, wrong))).rejects.toMatchObject({ name: 'CoreError' })
    expect(await client.exists(hashTagged({ prefix: 'enablement:quota', tag: tenant, parts: ['units'] }))).toBe(0)
    expect(await store.consume(spendOf(tenant))).toMatchObject({ outcome: 'consumed', remaining: 9 })
  })

  it('writes nothing when a key holds something else', async () => {
    const tenant = freshTenant()
    const store = redisQuotaStore(client)
    const counter = hashTagged({ prefix: 'enablement:quota', tag: tenant, parts: ['units'] })
    await client.set(counter, 'foreign')
    await expect(store.consume(spendOf(tenant))).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    await client.del(counter)
    await client.hset(counter, 'starts', '0', 'ends', 'soon', 'used', '0')
    await expect(store.consume(spendOf(tenant))).rejects.toMatchObject({ code: 'SCRIPT_FAILED' })
    expect(await client.hget(counter, 'used')).toBe('0')
  })

  test.prop([fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), fc.string({ minLength: 1 })], {
    numRuns: Math.ceil(50 * scale)
  })('takes any tenant and subject into one slot', async (name, subject) => {
    const tenant = `${freshTenant()}${name}`
    const answer = await redisQuotaStore(client).consume(spendOf(tenant, { subject }))
    expect(answer).toMatchObject({ outcome: 'consumed', remaining: 9 })
  })
})
