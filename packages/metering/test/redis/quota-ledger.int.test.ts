import { CoreError } from '@enablement/core'
import { redisSettings } from '@enablement/core/redis'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import type { Charge, CounterReading, QuotaLedger, QuotaStore } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { meteringSchema, sqlQuotaLedger } from '@enablement/metering/sql'
import { fc, test } from '@fast-check/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

const scale = inject('scale')
const run = `${process.pid}-${process.hrtime.bigint()}`
let tenants = 0
const QUANTITY = 60

const charges: readonly Charge[] = [
  { limit: 'units', path: ['team'], quantity: 1_000, rule: { kind: 'rolling', rollingMs: 86_400_000 }, reserved: [] },
  { limit: 'flow', path: [], quantity: 1_000, rule: { kind: 'bucket', refill: 1, perMs: 86_400_000 }, reserved: [] },
  { limit: 'units', path: [], quantity: QUANTITY, rule: { kind: 'every', everyMs: 315_576_000_000 }, reserved: [] }
]
const jobs: readonly Charge[] = [
  ...charges,
  { limit: 'jobs', path: [], quantity: 1_000, rule: { kind: 'concurrent' }, reserved: [] }
]
const quota = { scope: 'quota', charges, idempotencyMs: 3_600_000, keepMs: 3_600_000 }

let client: Redis
beforeAll(async () => {
  client = new Redis(inject('redisUrl'), redisSettings())
  await redisQuotaStore(client).checkServer()
})
afterAll(() => client.disconnect())

type Failing = 'never' | 'before' | 'after'

/** A store whose ledger fails when it is told to: before it has taken a step, or after, without saying so. */
async function stage() {
  tenants += 1
  const tenant = `org-${run}-${tenants}`
  const db = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [meteringSchema])
  const ledger = sqlQuotaLedger(db)
  let failing: Failing = 'never'
  const unsound: QuotaLedger = {
    ...ledger,
    async append(...step) {
      const unknown = new CoreError('COMMIT_UNKNOWN', 'the ledger is gone', { store: 'test' })
      const how = failing
      if (how === 'before') throw unknown
      const answer = await ledger.append(...step)
      if (how === 'after') throw unknown
      return answer
    }
  }
  const make = (): QuotaStore => redisQuotaStore(client, { durability: 'ledger', ledger: unsound })
  return {
    tenant,
    db,
    ledger,
    make,
    async failing<Answer>(how: Failing, work: () => Promise<Answer>): Promise<Answer | undefined> {
      failing = how
      try {
        return await work()
      } catch (error) {
        expect(error).toMatchObject({ code: 'COMMIT_UNKNOWN' })
        return undefined
      } finally {
        failing = 'never'
      }
    },
    /** The server loses all that it knows of the tenant. */
    async lose() {
      const keys = await client.keys(`*{${tenant}}*`)
      if (keys.length > 0) await client.del(...keys)
    },
    [Symbol.asyncDispose]: () => db.close()
  }
}

async function readings(store: QuotaStore, tenant: string): Promise<readonly CounterReading[]> {
  const found = await store.read(tenant, jobs)
  if ('outcome' in found) throw new Error('no boundaries were given')
  return found
}

const failing = fc.constantFrom<Failing>('never', 'never', 'never', 'before', 'after')
const key = fc.nat(3)
const act = fc.oneof(
  fc.record({
    do: fc.constant('spend' as const),
    failing,
    amount: fc.integer({ min: 1, max: 9 }),
    key: fc.option(key)
  }),
  fc.record({ do: fc.constant('hold' as const), failing, key, amount: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ do: fc.constant('extend' as const), failing, key, amount: fc.integer({ min: 1, max: 14 }) }),
  fc.record({ do: fc.constant('settle' as const), failing, key, actual: fc.nat(12) }),
  fc.record({ do: fc.constant('lose' as const) })
)

describe('quotas under a ledger', () => {
  test.prop([fc.array(act, { minLength: 4, maxLength: 30 })], { numRuns: Math.ceil(25 * scale) })(
    'are never oversold and keep what was answered, whatever the server loses and whenever the ledger fails',
    async (acts) => {
      await using staged = await stage()
      const { tenant } = staged
      const stores = [staged.make(), staged.make()]
      /** What callers were told: by spend or hold, what it took. */
      const told = new Map<string, number>()
      const spent = new Map<string, unknown>()
      const ended = new Map<string, unknown>()
      for (const [at, one] of acts.entries()) {
        const store = stores[at % 2] as QuotaStore
        if (one.do === 'lose') {
          await staged.lose()
          continue
        }
        if (one.do === 'spend') {
          // An amount belongs to a key, as it does for a caller that repeats itself.
          const amount = one.key === null ? one.amount : 2 + one.key
          const keys = [one.key === null ? undefined : `spend-${one.key}`]
          const name = keys[0] ?? `keyless-${at}`
          const found = await staged.failing(one.failing, () =>
            store.consume(tenant, [{ ...quota, amounts: [amount], keys }])
          )
          const answer = found?.[0]?.[0]
          if (answer?.outcome !== 'consumed') continue
          const first = spent.get(name)
          if (first !== undefined) expect(answer).toEqual(first)
          spent.set(name, { ...answer, replayed: true })
          told.set(name, amount)
          continue
        }
        const request = { ...quota, charges: jobs, scope: 'holds', key: `hold-${one.key}` }
        if (one.do === 'hold') {
          const more = { amount: 5, amountMin: 5, ttlMs: 3_600_000, onExpiry: 'returned' as const }
          const answer = await staged.failing(one.failing, () => store.hold(tenant, { ...request, ...more }))
          if (answer?.outcome === 'held') told.set(request.key, answer.amount)
        } else if (one.do === 'extend') {
          const more = { amount: one.amount, ttlMs: 1 }
          const answer = await staged.failing(one.failing, () => store.extend(tenant, { ...request, ...more }))
          if (answer?.outcome === 'held') told.set(request.key, answer.amount)
        } else {
          const answer = await staged.failing(one.failing, () =>
            store.settle(tenant, { ...request, actual: one.actual })
          )
          // Whether it is settled is not known; what it took is the least that it can be.
          if (answer === undefined && !ended.has(request.key)) told.delete(request.key)
          if (answer?.outcome !== 'settled') continue
          const first = ended.get(request.key)
          if (first !== undefined) expect(answer).toEqual(first)
          ended.set(request.key, { ...answer, replayed: true })
          told.set(request.key, answer.charged)
        }
        const sum = [...told.values()].reduce((all, amount) => all + amount, 0)
        expect(sum).toBeLessThanOrEqual(QUANTITY)
      }
      const sum = [...told.values()].reduce((all, amount) => all + amount, 0)
      for (const lose of [false, true]) {
        if (lose) await staged.lose()
        const found = await readings(stores[0] as QuotaStore, tenant)
        expect(found[2]?.used).toBeGreaterThanOrEqual(sum)
        expect(found[2]?.used).toBeLessThanOrEqual(QUANTITY)
        for (const { used, held } of found) expect(held).toBeLessThanOrEqual(used)
      }
    },
    600_000
  )

  it('give back what was held by a hold that nobody was told of', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const store = staged.make()
    const hold = { ...quota, charges: jobs, amount: 5, amountMin: 5, ttlMs: 3_600_000, onExpiry: 'returned' as const }
    expect(await store.hold(tenant, { ...hold, key: 'told' })).toMatchObject({ outcome: 'held' })
    expect(await staged.failing('before', () => store.hold(tenant, { ...hold, key: 'untold' }))).toBeUndefined()
    // This one speaks of counters that the other had taken from.
    await store.consume(tenant, [{ ...quota, amounts: [1] }])
    await staged.lose()
    expect((await readings(store, tenant)).map(({ used, held }) => [used, held])).toEqual([
      [6, 5],
      [6, 5],
      [6, 5],
      [5, 5]
    ])
  })

  it('hold again what was given back by an end that nobody was told of', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const store = staged.make()
    const hold = {
      ...quota,
      charges: jobs,
      key: 'hold',
      amount: 5,
      amountMin: 5,
      ttlMs: 3_600_000,
      onExpiry: 'returned' as const
    }
    await store.hold(tenant, hold)
    expect(await staged.failing('before', () => store.settle(tenant, { ...hold, actual: 0 }))).toBeUndefined()
    await store.consume(tenant, [{ ...quota, amounts: [1] }])
    await staged.lose()
    expect((await readings(store, tenant)).map(({ used, held }) => [used, held])).toEqual([
      [6, 5],
      [6, 5],
      [6, 5],
      [5, 5]
    ])
    expect(await store.settle(tenant, { ...hold, actual: 2 })).toMatchObject({ charged: 2, replayed: false })
    expect((await readings(store, tenant)).map(({ used }) => used)).toEqual([3, 3, 3, 0])
  })

  it('vouch for what an earlier call did before they repeat its answer', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const [store, other] = [staged.make(), staged.make()]
    const spend = [{ ...quota, amounts: [7], keys: ['call'] }]
    const hold = { ...quota, key: 'hold', amount: 5, amountMin: 5, ttlMs: 3_600_000, onExpiry: 'returned' as const }
    // The processes that made them died before the ledger heard of it.
    expect(await staged.failing('before', () => store.consume(tenant, spend))).toBeUndefined()
    expect(await staged.failing('before', () => store.hold(tenant, hold))).toBeUndefined()
    expect(await other.consume(tenant, spend)).toMatchObject([[{ outcome: 'consumed', replayed: true }]])
    expect(await other.hold(tenant, hold)).toMatchObject({ outcome: 'held', replayed: true })
    await staged.lose()
    expect((await readings(store, tenant))[2]).toMatchObject({ used: 12, held: 5 })
    expect(await store.consume(tenant, spend)).toMatchObject([[{ outcome: 'consumed', replayed: true }]])
    expect(await staged.failing('before', () => store.settle(tenant, { ...hold, actual: 6 }))).toBeUndefined()
    expect(await other.settle(tenant, { ...hold, actual: 6 })).toMatchObject({ charged: 6, replayed: true })
    await staged.lose()
    expect((await readings(store, tenant))[2]).toMatchObject({ used: 13, held: 0 })
  })

  it('know the counters of a hold that they heard of when it was extended', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const [store, other] = [staged.make(), staged.make()]
    const hold = { ...quota, key: 'hold', amount: 5, amountMin: 5, ttlMs: 3_600_000, onExpiry: 'returned' as const }
    expect(await staged.failing('before', () => store.hold(tenant, hold))).toBeUndefined()
    // Also when the call names other counters than the hold was made on.
    const extended = { ...hold, charges: jobs.slice(3), amount: 0 }
    expect(await other.extend(tenant, extended)).toMatchObject({ outcome: 'held', amount: 5 })
    await staged.lose()
    expect((await readings(store, tenant)).map(({ used, held }) => [used, held])).toEqual([
      [5, 5],
      [5, 5],
      [5, 5],
      [0, 0]
    ])
  })

  it('are made again by one of many that find them gone, and are there for all', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const stores = Array.from({ length: 6 }, () => staged.make())
    await stores[0]?.consume(tenant, [{ ...quota, amounts: [10] }])
    await staged.lose()
    const answers = await Promise.all(
      stores.flatMap((store) => [1, 2, 3].map(() => store.consume(tenant, [{ ...quota, amounts: [2] }])))
    )
    expect(answers.flat(2).every(({ outcome }) => outcome === 'consumed')).toBe(true)
    expect((await readings(stores[1] as QuotaStore, tenant))[2]?.used).toBe(10 + 18 * 2)
    // The first epoch, and one for all of them.
    expect(await staged.ledger.epoch(tenant)).toBe(2)
  })

  it('are made again by another when the one that began it is gone', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const [store, other] = [staged.make(), staged.make()]
    await store.consume(tenant, [{ ...quota, amounts: [10] }])
    // A process began an epoch, and died before it put the fence up.
    await staged.ledger.advance(tenant, 1)
    expect(await store.consume(tenant, [{ ...quota, amounts: [1] }])).toMatchObject([[{ remaining: QUANTITY - 11 }]])
    expect(await other.consume(tenant, [{ ...quota, amounts: [1] }])).toMatchObject([[{ remaining: QUANTITY - 12 }]])
  })

  it('come back in pages, however many counters there are', async () => {
    await using staged = await stage()
    const { tenant } = staged
    const store = staged.make()
    const groups = Array.from({ length: 1_201 }, (_, at) => ({
      ...quota,
      scope: `quota-${at}`,
      charges: [{ limit: 'own', path: [`user-${at}`], quantity: 5, rule: { kind: 'lifetime' as const }, reserved: [] }],
      amounts: [1],
      keys: ['call']
    }))
    const first = await store.consume(tenant, groups)
    await staged.lose()
    const again = await store.consume(tenant, groups)
    expect(again).toEqual(first.map((answers) => answers.map((answer) => ({ ...answer, replayed: true }))))
  })
})
