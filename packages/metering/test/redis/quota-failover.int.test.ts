import { redisSettings } from '@enablement/core/redis'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import type { Charge, QuotaStore } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { meteringSchema, sqlQuotaLedger } from '@enablement/metering/sql'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { redirect, startRedisPair } from './redis-pair.ts'

const QUANTITY = 100
const charges: readonly Charge[] = [
  { limit: 'units', path: ['team'], quantity: 1_000, rule: { kind: 'lifetime' }, reserved: [] },
  { limit: 'units', path: [], quantity: QUANTITY, rule: { kind: 'lifetime' }, reserved: [] }
]
const quota = { scope: 'quota', charges, idempotencyMs: 3_600_000 }
const TENANT = 'org'

const clients: Redis[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect()
})

async function connect(url: string): Promise<Redis> {
  const client = new Redis(url, redisSettings())
  clients.push(client)
  client.on('error', () => {})
  if (client.status !== 'ready') await new Promise<void>((resolve) => client.once('ready', () => resolve()))
  return client
}

/** Spends one unit at a time until it is refused or `most` are sold; gives how many were sold and what went wrong. */
async function sell(store: QuotaStore, most: number): Promise<{ sold: number; failures: string[] }> {
  const failures: string[] = []
  let sold = 0
  for (let call = 0; call < most; call++) {
    try {
      const [[answer] = []] = await store.consume(TENANT, [{ ...quota, amounts: [1] }])
      if (answer?.outcome === 'refused') break
      if (answer?.outcome === 'consumed') sold += 1
    } catch (error) {
      failures.push((error as { code: string }).code)
    }
  }
  return { sold, failures }
}

async function usedIn(store: QuotaStore): Promise<number | undefined> {
  const readings = await store.read(TENANT, charges)
  return 'outcome' in readings ? undefined : readings[1]?.used
}

describe('a failover that loses acknowledged writes', () => {
  it('hands out again under fast what the replica never heard of, and no more', async () => {
    await using pair = await startRedisPair()
    const client = await connect(pair.primary)
    const store = redisQuotaStore(client)
    const before = await sell(store, 30)
    await pair.caughtUp()
    pair.cut()
    const lost = await sell(store, 20)
    await pair.killPrimary()
    await pair.promote()
    await redirect(client, pair.replica)
    const after = await sell(store, 1_000)
    expect([before.sold, lost.sold]).toEqual([30, 20])
    // Oversold by what was acknowledged behind the cut.
    expect(before.sold + lost.sold + after.sold).toBe(QUANTITY + lost.sold)
  })

  it('answers nothing under min-replicas that no replica has, and so oversells nothing', async () => {
    const settings = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', '1', '--repl-ping-replica-period', '1']
    await using pair = await startRedisPair(settings)
    const client = await connect(pair.primary)
    const store = redisQuotaStore(client, { durability: 'min-replicas', waitMs: 200 })
    await store.checkServer()
    // It takes the primary a moment to think well of its replica.
    let before = await sell(store, 1)
    while (before.sold === 0) before = await sell(store, 1)
    before = await sell(store, 29)
    pair.cut()
    const behind = await sell(store, 3)
    expect(before).toEqual({ sold: 29, failures: [] })
    // They may be lost, and nobody was told that they were sold.
    expect(behind).toEqual({ sold: 0, failures: Array(3).fill('COMMIT_UNKNOWN') })
    // After the lag the primary itself refuses to write.
    let refused: string[] = []
    while (refused[0] !== 'STORE_UNAVAILABLE') {
      await new Promise((resolve) => setTimeout(resolve, 100))
      refused = (await sell(store, 1)).failures
    }
    await pair.killPrimary()
    await pair.promote()
    await redirect(client, pair.replica)
    const after = await sell(redisQuotaStore(client), 1_000)
    expect(1 + before.sold + after.sold).toBeLessThanOrEqual(QUANTITY)
  })

  it('loses nothing under ledger that was answered, and oversells nothing', async () => {
    await using pair = await startRedisPair()
    await using db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [meteringSchema])
    const client = await connect(pair.primary)
    const store = redisQuotaStore(client, { durability: 'ledger', ledger: sqlQuotaLedger(db) })
    const before = await sell(store, 30)
    await pair.caughtUp()
    pair.cut()
    const behind = await sell(store, 20)
    const keyed = { ...quota, amounts: [5], keys: ['call'] }
    const first = await store.consume(TENANT, [keyed])
    const hold = { ...quota, key: 'hold', amount: 10, amountMin: 10, ttlMs: 600_000, keepMs: 600_000 }
    const held = await store.hold(TENANT, { ...hold, onExpiry: 'returned' })
    const jobs: readonly Charge[] = [
      { limit: 'jobs', path: [], quantity: 3, rule: { kind: 'concurrent' }, reserved: [] },
      { limit: 'rate', path: [], quantity: 10, rule: { kind: 'rolling', rollingMs: 3_600_000 }, reserved: [] },
      { limit: 'flow', path: [], quantity: 10, rule: { kind: 'bucket', refill: 1, perMs: 3_600_000 }, reserved: [] }
    ]
    await store.hold(TENANT, { ...hold, charges: jobs, scope: 'jobs', amount: 2, amountMin: 2, onExpiry: 'spent' })
    await store.consume(TENANT, [{ ...quota, charges: jobs, scope: 'jobs', amounts: [3] }])
    const readings = await store.read(TENANT, jobs)

    await pair.killPrimary()
    await pair.promote()
    await redirect(client, pair.replica)

    expect(await usedIn(store)).toBe(65)
    expect(await store.read(TENANT, jobs)).toEqual(readings)
    const [[again] = []] = await store.consume(TENANT, [keyed])
    expect(again).toEqual({ ...first[0]?.[0], replayed: true })
    expect(await store.hold(TENANT, { ...hold, onExpiry: 'returned' })).toMatchObject({
      outcome: 'held',
      amount: 10,
      expiresAt: held.outcome === 'held' ? held.expiresAt : 0,
      replayed: true
    })
    expect(await store.settle(TENANT, { ...hold, actual: 4 })).toMatchObject({ outcome: 'settled', charged: 4 })
    const after = await sell(store, 1_000)
    expect([before.sold, behind.sold]).toEqual([30, 20])
    expect(before.sold + behind.sold + 5 + 4 + after.sold).toBe(QUANTITY)
  })

  it('answers nothing under ledger that a dethroned primary still sells', async () => {
    await using pair = await startRedisPair()
    await using db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [meteringSchema])
    const ledger = sqlQuotaLedger(db)
    const old = redisQuotaStore(await connect(pair.primary), { durability: 'ledger', ledger })
    const before = await sell(old, 30)
    await pair.caughtUp()
    pair.cut()
    await sell(old, 10)
    await pair.promote()
    // Both sides of the cut go on: whoever the ledger does not know any more makes its counters again first.
    const other = redisQuotaStore(await connect(pair.replica), { durability: 'ledger', ledger })
    let sold = before.sold + 10
    for (let round = 0; round < 4; round++) {
      for (const store of [other, old]) sold += (await sell(store, 5)).sold
    }
    const ends = await Promise.all([sell(other, 1_000), sell(old, 1_000)])
    for (const end of ends) sold += end.sold
    expect(sold).toBeLessThanOrEqual(QUANTITY)
    const left = await sell(other, 1_000)
    expect(sold + left.sold).toBe(QUANTITY)
    expect(await usedIn(other)).toBe(QUANTITY)
  })
})
