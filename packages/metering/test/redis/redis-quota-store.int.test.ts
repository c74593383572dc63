import { clusterSettings, redisSettings } from '@enablement/core/redis'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import type { QuotaStore } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { meteringSchema, sqlQuotaLedger } from '@enablement/metering/sql'
import { quotaStoreConformance, redisQuotaStoreOnClock } from '@enablement/metering/testing'
import { test } from '@fast-check/vitest'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, inject, it } from 'vitest'
import { histories, playAtOnce, playInOrder } from '../quota/reference-quota.ts'

const scale = inject('scale')
const run = `${process.pid}-${process.hrtime.bigint()}`
let tenants = 0
const freshTenant = (): string => {
  tenants += 1
  return `org-${run}-${tenants}`
}

/** One store after the other, as if the calls came from several processes. */
function inTurn(stores: readonly QuotaStore[]): QuotaStore {
  let calls = 0
  const next = (): QuotaStore => {
    calls += 1
    return stores[calls % stores.length] as QuotaStore
  }
  return {
    supports: { durable: 'none', shared: true, pipelined: false },
    consume: (...call) => next().consume(...call),
    hold: (...call) => next().hold(...call),
    settle: (...call) => next().settle(...call),
    extend: (...call) => next().extend(...call),
    read: (...call) => next().read(...call),
    // Each looks after the tenants that it has served.
    endExpired: async (...call) => (await Promise.all(stores.map((store) => store.endExpired(...call)))).flat()
  }
}

describe.each([
  ['Redis', () => new Redis(inject('redisUrl'), redisSettings())],
  ['Redis Cluster', () => new Cluster(inject('redisClusterUrls'), clusterSettings())]
] as const)('the quota store on %s', (_name, connect) => {
  let client: Redis | Cluster
  let others: readonly (Redis | Cluster)[]
  beforeAll(async () => {
    client = connect()
    others = [connect(), connect()]
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

  test.prop([histories], { numRuns: Math.ceil(8 * scale) })(
    'gives answers that some order explains to several connections at once',
    async (history) => {
      const clock = virtualClock()
      const stores = [client, ...others].map((one) => redisQuotaStoreOnClock(one, clock))
      await playAtOnce(inTurn(stores), clock, freshTenant(), history)
    },
    600_000
  )
})

describe('the quota store on Redis Cluster under a ledger', () => {
  let client: Cluster
  beforeAll(async () => {
    client = new Cluster(inject('redisClusterUrls'), clusterSettings())
    await redisQuotaStore(client).checkServer()
  })
  afterAll(() => client.disconnect())

  const create = async () => {
    const clock = virtualClock()
    const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
    await migrate(db, [meteringSchema])
    const store = redisQuotaStoreOnClock(client, clock, { durability: 'ledger', ledger: sqlQuotaLedger(db) })
    return { store, clock, tenant: freshTenant(), [Symbol.asyncDispose]: () => db.close() }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)

  test.prop([histories], { numRuns: Math.ceil(8 * scale) })(
    'answers as the reference does',
    async (history) => {
      const { store, clock, tenant, ...staged } = await create()
      await playInOrder(store, clock, tenant, history)
      await staged[Symbol.asyncDispose]()
    },
    600_000
  )
})
