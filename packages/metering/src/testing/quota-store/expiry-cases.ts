import assert from 'node:assert/strict'
import type { ExpiredHold } from '../../quota/quota-store.ts'
import {
  BUCKET,
  CONCURRENT,
  charge,
  consumed,
  DAY_MS,
  type Examined,
  examCase,
  HOUR_MS,
  HOURLY,
  held,
  MINUTE_MS,
  refused,
  START_AT,
  settled
} from './exam.ts'

const UNKNOWN = { outcome: 'unknown-hold' }
const hourly = charge({ rule: HOURLY })
const concurrent = charge({ limit: 'jobs', rule: CONCURRENT })

/** What `endExpired` ends of the case's tenant, a few at a time, until there are no more. */
async function endAll({ store, tenant }: Examined, limit: number): Promise<readonly ExpiredHold[]> {
  const ended: ExpiredHold[] = []
  for (;;) {
    const some = await store.endExpired(limit)
    assert.ok(some.length <= limit)
    ended.push(...some.filter((one) => one.tenant === tenant))
    if (some.length < limit) return ended
  }
}

/** Holds whose time is over. */
export const expiryCases = [
  examCase(
    'gives back a hold that expired, to the millisecond, to whoever needs it',
    async ({ hold, consume, read, at }) => {
      await hold(charge(), { amount: 8, ttlMs: MINUTE_MS })
      at(MINUTE_MS - 1)
      assert.deepEqual(await consume(3, charge()), refused(2))
      at(MINUTE_MS)
      assert.deepEqual(await consume(3, charge()), consumed(7))
      assert.equal((await read(charge())).held, 0)
    }
  ),
  examCase(
    'counts a hold that expired no longer when it reads, holds and extends',
    async ({ hold, extend, standing, at }) => {
      await hold(charge(), { amount: 4, ttlMs: MINUTE_MS })
      await hold(charge(), { key: 'second', amount: 4, ttlMs: 2 * MINUTE_MS })
      at(MINUTE_MS)
      assert.deepEqual(await standing(charge()), [4, 4, 6])
      at(2 * MINUTE_MS)
      assert.deepEqual(
        await hold(charge(), { key: 'third' }),
        held(10, START_AT + 2 * MINUTE_MS + HOUR_MS, START_AT + 2 * MINUTE_MS)
      )
      assert.deepEqual(await extend(charge(), { key: 'second' }), settled(0, { expired: true }))
    }
  ),
  examCase('says of a hold that expired how it ended, and that nobody settled it', async ({ hold, extend, at }) => {
    for (const [key, onExpiry, actual] of [
      ['returned', 'returned', 0],
      ['spent', 'spent', 4]
    ] as const) {
      at(0)
      await hold(charge(), { key, amount: 4, ttlMs: MINUTE_MS, onExpiry })
      at(MINUTE_MS)
      const end = settled(actual, { expired: true })
      assert.deepEqual(await hold(charge(), { key, amount: 4 }), end)
      assert.deepEqual(await extend(charge(), { key, amount: 5 }), end)
      assert.deepEqual(await hold(charge(), { key, amount: 5 }), { outcome: 'conflict', firstAmount: 4 })
    }
  }),
  examCase(
    'counts a hold as used when it was to be, except what was in use at the same time',
    async ({ hold, standing, at }) => {
      await hold([charge(), concurrent], { amount: 4, ttlMs: MINUTE_MS, onExpiry: 'spent' })
      at(MINUTE_MS)
      assert.deepEqual(await standing(charge()), [4, 0, 6])
      assert.deepEqual(await standing(concurrent), [0, 0, 10])
    }
  ),
  examCase(
    'charges a hold that expired and was returned when it is settled late',
    async ({ hold, settle, consume, standing, at }) => {
      await hold(hourly, { amount: 4, ttlMs: MINUTE_MS })
      at(MINUTE_MS)
      assert.deepEqual(await settle(3, hourly), settled(3, { expired: true }))
      assert.deepEqual(await standing(hourly), [3, 0, 7])
      assert.deepEqual(await settle(3, hourly), settled(3, { expired: true, replayed: true }))
      assert.deepEqual(await settle(2, hourly), { outcome: 'conflict', firstActual: 3 })
      assert.deepEqual(await consume(7, hourly), consumed(0, START_AT + HOUR_MS))
    }
  ),
  examCase('charges late what is left, from the window of now', async ({ hold, settle, consume, standing, at }) => {
    await hold(hourly, { amount: 4, ttlMs: MINUTE_MS })
    at(HOUR_MS)
    await consume(8, hourly)
    assert.deepEqual(await settle(4, hourly), settled(4, { charged: 2, overrun: 2, expired: true }))
    assert.deepEqual(await standing(hourly), [10, 0, 0])
  }),
  examCase('corrects late what was counted as used', async ({ hold, settle, standing, at }) => {
    for (const [key, actual, charged, used] of [
      ['less', 1, 1, 1],
      ['more', 6, 6, 7],
      ['too much', 9, 7, 10]
    ] as const) {
      at(0)
      await hold(charge(), { key, amount: used === 10 ? 3 : 4, ttlMs: MINUTE_MS, onExpiry: 'spent' })
      at(MINUTE_MS)
      const overrun = key === 'too much' ? 6 : 0
      const late = { charged: actual - overrun, overrun, expired: true }
      assert.deepEqual(await settle(actual, charge(), { key }), settled(actual, late), `${key} ${charged}`)
      assert.deepEqual(await standing(charge()), [used, 0, 10 - used])
    }
  }),
  examCase(
    'never fills a bucket with what has come back since a hold expired',
    async ({ hold, settle, consume, standing, at }) => {
      const bucket = charge({ rule: BUCKET })
      await hold(bucket, { amount: 10, ttlMs: MINUTE_MS, onExpiry: 'spent' })
      at(MINUTE_MS)
      assert.deepEqual(await standing(bucket), [10, 0, 0])
      at(MINUTE_MS + 10_000)
      assert.deepEqual(await consume(10, bucket), consumed(0, START_AT + MINUTE_MS + 20_000))
      assert.deepEqual(await settle(0, bucket), settled(0, { expired: true }))
      assert.deepEqual(await standing(bucket), [10, 0, 0])
    }
  ),
  examCase(
    'remembers an expiry from when it was found, so that it can be settled',
    async ({ hold, settle, read, standing, at }) => {
      await hold(charge(), { amount: 4, ttlMs: MINUTE_MS, keepMs: MINUTE_MS })
      at(DAY_MS)
      assert.equal((await read(charge())).held, 0)
      at(DAY_MS + MINUTE_MS - 1)
      assert.deepEqual(await settle(3, charge()), settled(3, { expired: true }))
      at(0)
      await hold(charge(), { key: 'second', amount: 4, ttlMs: MINUTE_MS, keepMs: MINUTE_MS })
      at(DAY_MS)
      assert.equal((await read(charge())).held, 0)
      at(DAY_MS + MINUTE_MS)
      assert.deepEqual(await settle(3, charge(), { key: 'second' }), UNKNOWN)
      assert.deepEqual(await standing(charge()), [3, 0, 7])
    }
  ),
  examCase('lets an extension keep a hold from expiring', async ({ hold, extend, settle, at }) => {
    await hold(charge(), { amount: 4, ttlMs: MINUTE_MS })
    at(MINUTE_MS - 1)
    assert.equal((await extend(charge(), { ttlMs: MINUTE_MS })).outcome, 'held')
    at(2 * MINUTE_MS - 2)
    assert.deepEqual(await settle(4, charge()), settled(4))
    at(0)
    await hold(charge(), { key: 'second', amount: 4, ttlMs: MINUTE_MS })
    at(MINUTE_MS)
    assert.deepEqual(await extend(charge(), { key: 'second', ttlMs: DAY_MS }), settled(0, { expired: true }))
  }),
  examCase('ends what has expired and says which, each once', async (examined) => {
    const { hold, settle, standing, at, tenant } = examined
    for (const key of ['a', 'b', 'c', 'd'])
      await hold(charge(), { key, amount: 2, ttlMs: MINUTE_MS, scope: `of ${key}` })
    await hold(charge(), { key: 'later', amount: 1, ttlMs: HOUR_MS })
    at(MINUTE_MS - 1)
    assert.deepEqual(await endAll(examined, 10), [])
    await settle(2, charge(), { key: 'd', scope: 'of d' })
    at(MINUTE_MS)
    const ended = await endAll(examined, 2)
    assert.deepEqual(
      ended.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
      ['a', 'b', 'c'].map((key) => ({ tenant, scope: `of ${key}`, key }))
    )
    assert.deepEqual(await endAll(examined, 2), [])
    assert.deepEqual(await standing(charge()), [3, 1, 7])
  }),
  examCase('gives back many holds that expired at once', async ({ hold, consume, at }) => {
    const wide = charge({ quantity: 100 })
    const holds = Array.from({ length: 100 }, (_, n) =>
      hold(wide, { key: `hold-${n}`, amount: 1, ttlMs: MINUTE_MS + (n % 3) })
    )
    await Promise.all(holds)
    assert.deepEqual(await consume(1, wide), refused(0))
    at(MINUTE_MS + 2)
    assert.deepEqual(await consume(100, wide), consumed(0))
  }),
  examCase('does not give back twice what is settled while it expires', async (examined) => {
    const { hold, settle, standing, at, store } = examined
    for (let n = 0; n < 4; n++) await hold(charge(), { key: `hold-${n}`, amount: 2, ttlMs: MINUTE_MS })
    at(MINUTE_MS)
    const late = Array.from({ length: 4 }, (_, n) => settle(1, charge(), { key: `hold-${n}` }))
    await Promise.all([...late, store.endExpired(10), standing(charge()), store.endExpired(10)])
    assert.deepEqual(await standing(charge()), [4, 0, 6])
  })
]
