import assert from 'node:assert/strict'
import type { Charge } from '../../quota/charge.ts'
import type { HoldAnswer } from '../../quota/quota-store.ts'
import {
  BUCKET,
  CONCURRENT,
  charge,
  consumed,
  DAY_MS,
  examCase,
  extended,
  HOUR_MS,
  HOURLY,
  held,
  MINUTE_MS,
  ROLLING,
  refused,
  SECOND_MS,
  START_AT,
  settled
} from './exam.ts'

const UNKNOWN = { outcome: 'unknown-hold' }
const hourly = charge({ rule: HOURLY })
const rolling = charge({ rule: ROLLING })
const bucket = charge({ rule: BUCKET })
const concurrent = charge({ limit: 'jobs', rule: CONCURRENT })

/** Holds that are open: what they take, and what they give back in time. */
export const holdCases = [
  examCase('sets units aside and gives back what was not used', async ({ hold, settle, consume, standing }) => {
    assert.deepEqual(await hold(charge(), { amount: 7 }), held(7, START_AT + HOUR_MS, START_AT))
    assert.deepEqual(await standing(charge()), [7, 7, 3])
    assert.deepEqual(await consume(4, charge()), refused(3))
    assert.deepEqual(await settle(2, charge()), settled(2))
    assert.deepEqual(await standing(charge()), [2, 0, 8])
    assert.deepEqual(await consume(8, charge()), consumed(0))
  }),
  examCase('holds all of an amount or nothing', async ({ hold, settle, standing }) => {
    assert.deepEqual(await hold(charge(), { amount: 11 }), refused(10))
    assert.deepEqual(await hold([charge({ path: ['agent'], quantity: 5 }), hourly], { amount: 6 }), refused(5))
    assert.deepEqual(await standing(charge()), [0, 0, 10])
    assert.deepEqual(await settle(0, charge()), UNKNOWN)
  }),
  examCase('holds what there is when that is enough', async ({ hold, settle, standing }) => {
    const agent = charge({ path: ['agent'], quantity: 6 })
    assert.deepEqual(
      await hold([agent, charge()], { amount: 100, amountMin: 1 }),
      held(6, START_AT + HOUR_MS, START_AT)
    )
    assert.deepEqual(await standing(charge()), [6, 6, 4])
    assert.deepEqual(await hold([agent, charge()], { key: 'other', amount: 9, amountMin: 1 }), refused(0))
    assert.deepEqual(await settle(6, [agent, charge()]), settled(6))
    assert.deepEqual(await standing(agent), [6, 0, 0])
  }),
  examCase('says of a hold that was refused when the least of it could be there', async ({ hold, consume }) => {
    assert.deepEqual(await consume(8, bucket), consumed(2, START_AT + 8_000))
    assert.deepEqual(await hold(bucket, { amount: 10, amountMin: 4 }), refused(2, START_AT + 2_000))
    assert.deepEqual(await hold(bucket, { amount: 100, amountMin: 11 }), refused(2, null))
  }),
  examCase('holds once for a key, also when it is asked at the same time', async ({ hold, standing }) => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => hold(charge(), { amount: 4 })))
    assert.equal(answers.filter((answer) => answer.outcome === 'held' && !answer.replayed).length, 1)
    assert.deepEqual(await hold(charge(), { amount: 4 }), held(4, START_AT + HOUR_MS, START_AT, true))
    assert.deepEqual(await standing(charge()), [4, 4, 6])
  }),
  examCase('repeats a hold as it is now: what was granted, and what was added', async ({ hold, extend, at }) => {
    const request = { amount: 20, amountMin: 1 }
    assert.deepEqual(await hold(charge({ quantity: 8 }), request), held(8, START_AT + HOUR_MS, START_AT))
    at(1)
    assert.deepEqual(await hold(charge(), request), held(8, START_AT + HOUR_MS, START_AT + 1, true))
    await extend(charge(), { amount: 10, ttlMs: 2 * HOUR_MS })
    assert.deepEqual(await hold(charge(), request), held(10, START_AT + 1 + 2 * HOUR_MS, START_AT + 1, true))
    assert.deepEqual(await hold(charge(), { amount: 10 }), { outcome: 'conflict', firstAmount: 20 })
  }),
  examCase(
    'keeps holds of other keys, scopes and tenants apart, and from spends',
    async ({ hold, settle, consume, standing, store, tenant }) => {
      assert.equal((await hold(charge(), { amount: 3 })).outcome, 'held')
      assert.equal((await hold(charge(), { amount: 2, key: 'other' })).outcome, 'held')
      assert.equal((await hold(charge(), { amount: 1, scope: 'other' })).outcome, 'held')
      assert.deepEqual(await consume(2, charge(), { keys: ['hold'] }), consumed(2))
      assert.deepEqual(await standing(charge()), [8, 6, 2])
      assert.deepEqual(await settle(0, charge(), { scope: 'nobody' }), UNKNOWN)
      assert.deepEqual(
        await store.settle(`${tenant}-other`, {
          scope: 'quota',
          key: 'hold',
          charges: [charge()],
          actual: 0,
          keepMs: 1
        }),
        UNKNOWN
      )
      assert.deepEqual(await settle(2, charge(), { key: 'other' }), settled(2))
      assert.deepEqual(await standing(charge()), [8, 4, 2])
    }
  ),
  examCase(
    'takes what was used beyond a hold, as far as there is any left, and calls the rest overrun',
    async ({ hold, settle, standing }) => {
      await hold(charge(), { amount: 4 })
      assert.deepEqual(await settle(7, charge()), settled(7))
      assert.deepEqual(await standing(charge()), [7, 0, 3])
      await hold(charge(), { key: 'second', amount: 2 })
      assert.deepEqual(await settle(9, charge(), { key: 'second' }), settled(9, { charged: 3, overrun: 6 }))
      assert.deepEqual(await standing(charge()), [10, 0, 0])
    }
  ),
  examCase('takes beyond a hold what all of its counters have left', async ({ hold, settle, standing }) => {
    const agent = charge({ path: ['agent'], quantity: 5 })
    await hold([agent, charge()], { amount: 4 })
    assert.deepEqual(await settle(9, [agent, charge()]), settled(9, { charged: 5, overrun: 4 }))
    assert.deepEqual(await standing(agent), [5, 0, 0])
    assert.deepEqual(await standing(charge()), [5, 0, 5])
  }),
  examCase('settles once, and repeats the first end', async ({ hold, settle, standing, at }) => {
    await hold(charge(), { amount: 4 })
    assert.deepEqual(await settle(3, charge()), settled(3))
    at(HOUR_MS + 1)
    assert.deepEqual(await settle(3, charge()), settled(3, { replayed: true }))
    assert.deepEqual(await settle(4, charge()), { outcome: 'conflict', firstActual: 3 })
    assert.deepEqual(await hold(charge(), { amount: 4 }), settled(3, { replayed: true }))
    assert.deepEqual(await hold(charge(), { amount: 5 }), { outcome: 'conflict', firstAmount: 4 })
    assert.deepEqual(await standing(charge()), [3, 0, 7])
  }),
  examCase('settles once for calls at the same time', async ({ hold, settle, standing }) => {
    await hold(charge(), { amount: 4 })
    const answers = await Promise.all(Array.from({ length: 8 }, () => settle(6, charge())))
    assert.equal(answers.filter((answer) => answer.outcome === 'settled' && !answer.replayed).length, 1)
    assert.deepEqual(await standing(charge()), [6, 0, 4])
  }),
  examCase('remembers the end for as long as it was told and no longer', async ({ hold, settle, standing, at }) => {
    await hold(charge(), { amount: 4 })
    assert.deepEqual(await settle(3, charge(), { keepMs: MINUTE_MS }), settled(3))
    at(MINUTE_MS - 1)
    assert.deepEqual(await settle(3, charge()), settled(3, { replayed: true }))
    at(MINUTE_MS)
    assert.deepEqual(await settle(3, charge()), UNKNOWN)
    assert.deepEqual(await hold(charge(), { amount: 5 }), held(5, START_AT + MINUTE_MS + HOUR_MS, START_AT + MINUTE_MS))
    assert.deepEqual(await standing(charge()), [8, 5, 2])
  }),
  examCase('releases a hold by settling nothing', async ({ hold, settle, standing }) => {
    await hold([charge(), concurrent], { amount: 4 })
    assert.deepEqual(await settle(0, [charge(), concurrent]), settled(0))
    assert.deepEqual(await standing(charge()), [0, 0, 10])
    assert.deepEqual(await standing(concurrent), [0, 0, 10])
  }),
  examCase(
    'gives back into the window that was taken from, and no later one',
    async ({ hold, settle, standing, at }) => {
      await hold(hourly, { amount: 6, ttlMs: DAY_MS })
      at(HOUR_MS)
      assert.deepEqual(await standing(hourly), [0, 0, 10])
      await hold(hourly, { key: 'second', amount: 5, ttlMs: DAY_MS })
      assert.deepEqual(await settle(1, hourly), settled(1))
      assert.deepEqual(await standing(hourly), [5, 5, 5])
      assert.deepEqual(await settle(1, hourly, { key: 'second' }), settled(1))
      assert.deepEqual(await standing(hourly), [1, 0, 9])
    }
  ),
  examCase('takes beyond a hold from the window of now', async ({ hold, settle, standing, at }) => {
    await hold(hourly, { amount: 6, ttlMs: DAY_MS })
    at(HOUR_MS)
    assert.deepEqual(await settle(8, hourly), settled(8))
    assert.deepEqual(await standing(hourly), [2, 0, 8])
  }),
  examCase(
    'gives back into the slice that was taken from, while that counts',
    async ({ hold, settle, standing, at }) => {
      await hold(rolling, { amount: 3 })
      at(30_000)
      await hold(rolling, { key: 'second', amount: 4 })
      at(60_999)
      assert.deepEqual(await standing(rolling), [7, 7, 3])
      at(61_000)
      assert.deepEqual(await standing(rolling), [4, 4, 6])
      assert.deepEqual(await settle(0, rolling), settled(0))
      assert.deepEqual(await standing(rolling), [4, 4, 6])
      assert.deepEqual(await settle(1, rolling, { key: 'second' }), settled(1))
      assert.deepEqual(await standing(rolling), [1, 0, 9])
      at(91_000)
      assert.deepEqual(await standing(rolling), [0, 0, 10])
    }
  ),
  examCase(
    'does not fill a bucket with what is held, and never twice',
    async ({ hold, settle, consume, standing, at }) => {
      await hold(bucket, { amount: 6 })
      assert.deepEqual(await consume(4, bucket), consumed(0, START_AT + 4_000))
      assert.deepEqual(await consume(5, bucket), refused(0, null))
      at(10_000)
      assert.deepEqual(await standing(bucket), [6, 6, 4])
      // From here on what was used comes back, a unit a second.
      assert.deepEqual(await settle(5, bucket), settled(5))
      assert.deepEqual(await standing(bucket), [5, 0, 5])
      assert.deepEqual(await consume(6, bucket), refused(5, START_AT + 11_000))
      at(15_000)
      assert.deepEqual(await standing(bucket), [0, 0, 10])
    }
  ),
  examCase(
    'lets spends pass units in use by, and holds draw on them',
    async ({ hold, settle, consume, standing, read }) => {
      assert.deepEqual(await hold([charge(), concurrent], { amount: 9 }), held(9, START_AT + HOUR_MS, START_AT))
      assert.deepEqual(await hold(concurrent, { key: 'second', amount: 2 }), refused(1, null))
      assert.deepEqual(await hold(concurrent, { key: 'second', amount: 1 }), held(1, START_AT + HOUR_MS, START_AT))
      assert.deepEqual(await consume(1, [concurrent, charge()]), consumed(0))
      assert.equal((await read(concurrent)).resetsAt, null)
      assert.deepEqual(await standing(concurrent), [10, 10, 0])
      // All of it comes back, whatever was used.
      assert.deepEqual(await settle(9, [charge(), concurrent]), settled(9))
      assert.deepEqual(await standing(concurrent), [1, 1, 9])
      assert.deepEqual(await standing(charge()), [10, 0, 0])
      assert.deepEqual(await settle(70, concurrent, { key: 'second' }), settled(70))
      assert.deepEqual(await standing(concurrent), [0, 0, 10])
    }
  ),
  examCase('gives a hold more time, and never less', async ({ hold, extend, at }) => {
    await hold(charge(), { amount: 4 })
    at(10)
    assert.deepEqual(await extend(charge(), { ttlMs: 1 }), extended(4, START_AT + HOUR_MS, START_AT + 10))
    assert.deepEqual(await extend(charge(), {}), extended(4, START_AT + HOUR_MS + 10, START_AT + 10))
    assert.deepEqual(await extend(charge(), { key: 'other' }), UNKNOWN)
  }),
  examCase('gives a hold more units, all of them or none, and once', async ({ hold, extend, settle, standing }) => {
    await hold(charge(), { amount: 4 })
    const grown = extended(7, START_AT + HOUR_MS, START_AT)
    assert.deepEqual(await extend(charge(), { amount: 7 }), grown)
    assert.deepEqual(await extend(charge(), { amount: 7 }), grown)
    assert.deepEqual(await extend(charge(), { amount: 5 }), grown)
    assert.deepEqual(await extend(charge(), { amount: 11, ttlMs: DAY_MS }), refused(3))
    assert.deepEqual(await extend(charge(), {}), grown)
    assert.deepEqual(await standing(charge()), [7, 7, 3])
    assert.deepEqual(await settle(6, charge()), settled(6))
    assert.deepEqual(await standing(charge()), [6, 0, 4])
    assert.deepEqual(await extend(charge(), { amount: 8 }), settled(6, { replayed: true }))
  }),
  examCase(
    'takes an extension from the window of now, and gives the rest back to the latest',
    async ({ hold, extend, settle, standing, at }) => {
      await hold(hourly, { amount: 6, ttlMs: DAY_MS })
      at(HOUR_MS)
      assert.deepEqual(
        await extend(hourly, { amount: 9, ttlMs: DAY_MS }),
        extended(9, START_AT + HOUR_MS + DAY_MS, START_AT + HOUR_MS)
      )
      assert.deepEqual(await standing(hourly), [3, 3, 7])
      assert.deepEqual(await settle(7, hourly), settled(7))
      assert.deepEqual(await standing(hourly), [1, 0, 9])
    }
  ),
  examCase('extends a hold through a thousand slices', async ({ hold, extend, settle, standing, at }) => {
    const wide = charge({ rule: ROLLING, quantity: 10_000 })
    await hold(wide, { amount: 1, ttlMs: DAY_MS })
    for (let step = 1; step < 50; step++) {
      at(20 * step * SECOND_MS)
      assert.equal((await extend(wide, { amount: step + 1 })).outcome, 'held')
    }
    // Four of them still count.
    assert.deepEqual(await standing(wide), [4, 4, 9_996])
    assert.deepEqual(await settle(48, wide), settled(48))
    assert.deepEqual(await standing(wide), [2, 0, 9_998])
  }),
  examCase(
    'is elsewhere with what it would take, and settles all the same',
    async ({ hold, extend, settle, clock }) => {
      const [from, to] = [START_AT, START_AT + DAY_MS]
      const daily: Charge = charge({ rule: { kind: 'boundaries', boundaries: [from, to] } })
      await hold(daily, { amount: 4, ttlMs: 3 * DAY_MS })
      clock.jumpWallTo(to)
      const elsewhere: HoldAnswer = { outcome: 'elsewhere', now: to }
      assert.deepEqual(await hold(daily, { key: 'other', amount: 1 }), elsewhere)
      assert.deepEqual(await extend(daily, { amount: 5 }), elsewhere)
      assert.deepEqual(await extend(daily, { amount: 0 }), extended(4, START_AT + 3 * DAY_MS, to))
      assert.deepEqual(await hold(daily, { amount: 4 }), held(4, START_AT + 3 * DAY_MS, to, true))
      // What was held is charged; of what is left in windows that nobody named nothing is known.
      assert.deepEqual(await settle(6, daily), settled(6, { charged: 4, overrun: 2 }))
    }
  ),
  examCase('gives nothing back to a rule that began later', async ({ hold, settle, consume, standing }) => {
    await hold(charge(), { amount: 6 })
    assert.deepEqual(await consume(2, hourly), consumed(8, START_AT + HOUR_MS))
    assert.deepEqual(await settle(1, hourly), settled(1))
    assert.deepEqual(await standing(hourly), [2, 0, 8])
  }),
  examCase('takes no rule for one that began in the same millisecond', async ({ hold, settle, consume, standing }) => {
    const [before, after] = [charge({ rule: CONCURRENT }), charge()]
    await hold(before, { amount: 4 })
    assert.deepEqual(await consume(6, after), consumed(4))
    assert.deepEqual(await settle(0, before), settled(0))
    assert.deepEqual(await standing(after), [6, 0, 4])
  })
]
