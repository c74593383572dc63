import assert from 'node:assert/strict'
import type { Charge, CounterRule } from '../../quota/charge.ts'
import {
  BUCKET,
  CONCURRENT,
  charge,
  consumed,
  DAILY,
  DAY_MS,
  examCase,
  HOUR_MS,
  HOURLY,
  MINUTE_MS,
  ROLLING,
  refused,
  SECOND_MS,
  START_AT
} from './exam.ts'

const hourly = charge({ rule: HOURLY })
const rolling = charge({ rule: ROLLING })
const bucket = charge({ rule: BUCKET })

/** March, April and May of 2040 in New York, where the clock goes forward in March. */
const MONTHS = [Date.UTC(2040, 2, 1, 5), Date.UTC(2040, 3, 1, 4), Date.UTC(2040, 4, 1, 4)] as const
const monthly = (boundaries: readonly number[] = MONTHS): Charge => charge({ rule: { kind: 'boundaries', boundaries } })

/** Windows, stretches and buckets, to the millisecond. */
export const windowCases = [
  examCase('starts a window anew when it ends, to the millisecond', async ({ consume, at }) => {
    assert.deepEqual(await consume(10, hourly), consumed(0, START_AT + HOUR_MS))
    at(HOUR_MS - 1)
    assert.deepEqual(await consume(1, hourly), refused(0, START_AT + HOUR_MS))
    at(HOUR_MS)
    assert.deepEqual(await consume(10, hourly), consumed(0, START_AT + 2 * HOUR_MS))
    at(6 * HOUR_MS + 1)
    assert.deepEqual(await consume(1, hourly), consumed(9, START_AT + 7 * HOUR_MS))
  }),
  examCase('counts windows of any length from the epoch', async ({ consume, clock }) => {
    const odd = charge({ rule: { kind: 'every', everyMs: 1_000_003 } })
    const startsAt = START_AT - (START_AT % 1_000_003) + 1_000_003
    clock.jumpWallTo(startsAt)
    assert.deepEqual(await consume(10, odd), consumed(0, startsAt + 1_000_003))
    clock.jumpWallTo(startsAt + 1_000_002)
    assert.deepEqual(await consume(1, odd), refused(0, startsAt + 1_000_003))
    clock.jumpWallTo(startsAt + 1_000_003)
    assert.deepEqual(await consume(1, odd), consumed(9, startsAt + 2_000_006))
  }),
  examCase('counts calendar windows between boundaries, to the millisecond', async ({ consume, clock }) => {
    const [march, april, may] = MONTHS
    clock.jumpWallTo(march)
    assert.deepEqual(await consume(10, monthly()), consumed(0, april))
    clock.jumpWallTo(april - 1)
    assert.deepEqual(await consume(1, monthly()), refused(0, april))
    clock.jumpWallTo(april)
    assert.deepEqual(await consume(10, monthly()), consumed(0, may))
    clock.jumpWallTo(may - 1)
    assert.deepEqual(await consume(1, monthly()), refused(0, may))
  }),
  examCase(
    'says that it is elsewhere when its clock is in none of the windows',
    async ({ consume, clock, read, store, tenant, standing }) => {
      const [march, , may] = MONTHS
      for (const now of [march - 1, may, may + DAY_MS]) {
        clock.jumpWallTo(now)
        const elsewhere = { outcome: 'elsewhere', now }
        assert.deepEqual(await consume(1, [charge({ limit: 'other' }), monthly()]), elsewhere)
        assert.deepEqual(await store.read(tenant, [charge({ limit: 'other' }), monthly()]), elsewhere)
        await assert.rejects(read(monthly()))
      }
      assert.deepEqual(await standing(charge({ limit: 'other' })), [0, 0, 10])
    }
  ),
  examCase('gives the first answer to a key even where it is elsewhere', async ({ consume, clock }) => {
    const [march, april, may] = MONTHS
    clock.jumpWallTo(march)
    const call = { keys: ['call'], idempotencyMs: 90 * DAY_MS }
    assert.deepEqual(await consume(4, monthly(), call), consumed(6, april))
    clock.jumpWallTo(may)
    assert.deepEqual(await consume(4, monthly(), call), consumed(6, april, true))
    assert.deepEqual(await consume(5, monthly(), call), { outcome: 'conflict', firstAmount: 4 })
    assert.deepEqual(await consume(4, monthly()), { outcome: 'elsewhere', now: may })
  }),
  examCase('lets a calendar window end where it ended when it began', async ({ consume, clock }) => {
    const [march, april, may] = MONTHS
    clock.jumpWallTo(march)
    assert.deepEqual(await consume(10, monthly()), consumed(0, april))
    const later = monthly([march, april + DAY_MS, may])
    assert.deepEqual(await consume(1, later), refused(0, april))
    // Its window lasts, whatever windows the caller expects.
    assert.deepEqual(await consume(1, monthly([april, may])), refused(0, april))
    clock.jumpWallTo(april)
    assert.deepEqual(await consume(1, later), consumed(9, april + DAY_MS))
  }),
  examCase('does not start a window anew when the clock is set back', async ({ consume, at }) => {
    assert.deepEqual(await consume(10, hourly), consumed(0, START_AT + HOUR_MS))
    for (const moved of [-1, -DAY_MS, 1]) {
      at(moved)
      assert.deepEqual(await consume(1, hourly), refused(0, START_AT + HOUR_MS))
    }
    at(HOUR_MS)
    assert.deepEqual(await consume(1, hourly), consumed(9, START_AT + 2 * HOUR_MS))
  }),
  examCase(
    'gives a rolling quantity back slice by slice, never before the last of a slice has left',
    async ({ consume, at, read }) => {
      at(999)
      assert.deepEqual(await consume(4, rolling), consumed(6, START_AT + SECOND_MS + MINUTE_MS))
      at(30_000)
      assert.deepEqual(await consume(6, rolling), consumed(0, START_AT + 31_000 + MINUTE_MS))
      assert.deepEqual(await consume(4, rolling), refused(0, START_AT + 61_000))
      assert.deepEqual(await consume(5, rolling), refused(0, START_AT + 91_000))
      assert.deepEqual(await consume(11, rolling), refused(0, null))
      at(60_999)
      assert.deepEqual(await consume(1, rolling), refused(0, START_AT + 61_000))
      at(61_000)
      assert.deepEqual(await consume(4, rolling), consumed(0, START_AT + 62_000 + MINUTE_MS))
      at(90_999)
      assert.deepEqual(await consume(1, rolling), refused(0, START_AT + 91_000))
      at(91_000)
      assert.equal((await read(rolling)).remaining, 6)
      at(122_000)
      assert.deepEqual(await read(rolling), {
        limit: 'units',
        path: [],
        quantity: 10,
        used: 0,
        held: 0,
        remaining: 10,
        resetsAt: START_AT + 122_000
      })
    }
  ),
  examCase(
    'cuts a rolling stretch that sixty does not divide into slices that cover it',
    async ({ consume, clock }) => {
      const odd = charge({ rule: { kind: 'rolling', rollingMs: 61 } })
      const startsAt = START_AT + (START_AT % 2)
      clock.jumpWallTo(startsAt + 1)
      assert.deepEqual(await consume(10, odd), consumed(0, startsAt + 2 + 61))
      clock.jumpWallTo(startsAt + 2 + 60)
      assert.deepEqual(await consume(1, odd), refused(0, startsAt + 2 + 61))
      clock.jumpWallTo(startsAt + 2 + 61)
      assert.equal((await consume(10, odd)).outcome, 'consumed')
    }
  ),
  examCase('sells no more than the quantity in any rolling stretch', async ({ consume, at }) => {
    const sold: { readonly afterMs: number; readonly amount: number }[] = []
    for (let turn = 0; turn < 120; turn++) {
      const afterMs = turn * 1_709
      at(afterMs)
      const amount = 1 + (turn % 3)
      if ((await consume(amount, rolling)).outcome === 'consumed') sold.push({ afterMs, amount })
    }
    for (const { afterMs } of sold) {
      const within = sold.filter((one) => one.afterMs > afterMs - MINUTE_MS && one.afterMs <= afterMs)
      assert.ok(within.reduce((sum, { amount }) => sum + amount, 0) <= 10)
    }
    // All of the quantity, in each of the stretches.
    assert.ok(sold.reduce((sum, { amount }) => sum + amount, 0) >= 25)
  }),
  examCase(
    'keeps a rolling quantity when the clock is set back, and while it ran ahead',
    async ({ consume, at, read }) => {
      assert.deepEqual(await consume(4, rolling), consumed(6, START_AT + 61_000))
      at(-DAY_MS)
      assert.deepEqual(await consume(6, rolling), consumed(0, START_AT + 61_000))
      assert.deepEqual(await consume(1, rolling), refused(0, START_AT + 61_000))
      at(DAY_MS)
      assert.deepEqual(await consume(10, rolling), consumed(0, START_AT + DAY_MS + 61_000))
      at(61_000)
      assert.deepEqual(await consume(1, rolling), refused(0, START_AT + DAY_MS + 61_000))
      assert.equal((await read(rolling)).used, 10)
    }
  ),
  examCase('fills a bucket in proportion to time, to the millisecond', async ({ consume, at, read }) => {
    assert.deepEqual(await consume(10, bucket), consumed(0, START_AT + 10_000))
    assert.deepEqual(await consume(1, bucket), refused(0, START_AT + 1_000))
    assert.deepEqual(await consume(7, bucket), refused(0, START_AT + 7_000))
    assert.deepEqual(await consume(11, bucket), refused(0, null))
    at(999)
    assert.deepEqual(await consume(1, bucket), refused(0, START_AT + 1_000))
    at(2_500)
    assert.deepEqual(await consume(1, bucket), consumed(1, START_AT + 11_000))
    assert.deepEqual(await consume(2, bucket), refused(1, START_AT + 3_000))
    at(2_999)
    assert.deepEqual(await consume(2, bucket), refused(1, START_AT + 3_000))
    at(3_000)
    assert.deepEqual(await consume(2, bucket), consumed(0, START_AT + 13_000))
    at(DAY_MS)
    assert.deepEqual(await read(bucket), {
      limit: 'units',
      path: [],
      quantity: 10,
      used: 0,
      held: 0,
      remaining: 10,
      resetsAt: START_AT + DAY_MS
    })
    assert.deepEqual(await consume(10, bucket), consumed(0, START_AT + DAY_MS + 10_000))
  }),
  examCase('loses no part of a unit to rounding', async ({ consume, at }) => {
    // Seven units in 1,000 ms: the first after 142.86 ms, 142 of them after 20,286 ms.
    const uneven = charge({ rule: { kind: 'bucket', refill: 7, perMs: SECOND_MS }, quantity: 1_000 })
    assert.deepEqual(await consume(1_000, uneven), consumed(0, START_AT + 142_858))
    let bought = 0
    for (let after = 1; after <= 20_286; after += 1_709) {
      at(after)
      while ((await consume(1, uneven)).outcome === 'consumed') bought += 1
    }
    at(20_286)
    while ((await consume(1, uneven)).outcome === 'consumed') bought += 1
    assert.equal(bought, 142)
    assert.deepEqual(await consume(1, uneven), refused(0, START_AT + Math.ceil((143 * 1_000) / 7)))
  }),
  examCase('does not fill a bucket twice when the clock is set back', async ({ consume, at }) => {
    assert.deepEqual(await consume(10, bucket), consumed(0, START_AT + 10_000))
    at(5_000)
    assert.deepEqual(await consume(5, bucket), consumed(0, START_AT + 15_000))
    at(0)
    assert.deepEqual(await consume(1, bucket), refused(0, START_AT + 6_000))
    at(5_999)
    assert.deepEqual(await consume(1, bucket), refused(0, START_AT + 6_000))
    at(6_000)
    assert.deepEqual(await consume(1, bucket), consumed(0, START_AT + 16_000))
  }),
  examCase(
    'fills a bucket at another rate from when it has one, and up to then at the old',
    async ({ consume, at }) => {
      assert.deepEqual(await consume(10, bucket), consumed(0, START_AT + 10_000))
      at(2_900)
      const faster = charge({ rule: { kind: 'bucket', refill: 10, perMs: SECOND_MS } })
      assert.deepEqual(await consume(3, faster), refused(2, START_AT + 3_000))
      assert.deepEqual(await consume(2, faster), consumed(0, START_AT + 3_900))
      at(3_100)
      assert.deepEqual(await consume(2, faster), consumed(0, START_AT + 4_100))
    }
  ),
  examCase('lets a window end before another rule begins', async ({ consume, at }) => {
    for (const [limit, rule, resetsAt] of [
      ['daily', DAILY, Date.UTC(2040, 2, 1)],
      ['lifetime', { kind: 'lifetime' }, null],
      ['rolling', ROLLING, START_AT + HOUR_MS + 61_000],
      ['bucket', BUCKET, START_AT + HOUR_MS + 1_000]
    ] as const satisfies readonly (readonly [string, CounterRule, number | null])[]) {
      at(0)
      assert.deepEqual(await consume(10, charge({ limit, rule: HOURLY })), consumed(0, START_AT + HOUR_MS))
      assert.deepEqual(await consume(1, charge({ limit, rule })), refused(0, START_AT + HOUR_MS))
      at(HOUR_MS - 1)
      assert.deepEqual(await consume(1, charge({ limit, rule })), refused(0, START_AT + HOUR_MS))
      at(HOUR_MS)
      assert.deepEqual(await consume(1, charge({ limit, rule })), consumed(9, resetsAt))
    }
  }),
  examCase(
    'lets a stretch and a bucket give everything back before another rule begins',
    async ({ consume, at, standing }) => {
      for (const [limit, rule, used, last, usedAtLast] of [
        ['rolling', ROLLING, 10, 91_000, 7],
        ['bucket', BUCKET, 6, 37_000, 1]
      ] as const satisfies readonly (readonly [string, CounterRule, number, number, number])[]) {
        const before = charge({ limit, rule })
        const after = charge({ limit, rule: HOURLY })
        at(0)
        await consume(3, before)
        at(30_000)
        await consume(7, before)
        at(31_000)
        assert.deepEqual(await standing(after), [used, 0, 10 - used])
        assert.deepEqual(await consume(10 - used + 1, after), refused(10 - used, START_AT + last))
        at(last - 1)
        assert.deepEqual(await standing(after), [usedAtLast, 0, 10 - usedAtLast])
        at(last)
        assert.deepEqual(await consume(10, after), consumed(0, START_AT + HOUR_MS))
      }
    }
  ),
  examCase(
    'keeps what is taken meanwhile until the old rule has given everything back',
    async ({ consume, at, standing }) => {
      for (const [limit, rule, used, last] of [
        ['rolling', ROLLING, 7, 91_000],
        ['bucket', BUCKET, 5, 37_000]
      ] as const satisfies readonly (readonly [string, CounterRule, number, number])[]) {
        const before = charge({ limit, rule })
        const after = charge({ limit, rule: HOURLY })
        at(0)
        await consume(1, before)
        at(30_000)
        await consume(rule.kind === 'bucket' ? 7 : 6, before)
        at(32_000)
        assert.deepEqual(await consume(2, after), consumed(10 - used - 2, START_AT + last))
        at(last - 1)
        assert.deepEqual(await standing(after), [used + 2, 0, 10 - used - 2])
        at(last)
        assert.deepEqual(await consume(10, after), consumed(0, START_AT + HOUR_MS))
      }
    }
  ),
  examCase(
    'lets a stretch of another length begin when the one before has given everything back',
    async ({ consume, at }) => {
      const shorter = charge({ rule: { kind: 'rolling', rollingMs: 30_000 } })
      assert.deepEqual(await consume(10, rolling), consumed(0, START_AT + 61_000))
      at(60_999)
      assert.deepEqual(await consume(1, shorter), refused(0, START_AT + 61_000))
      at(61_000)
      assert.deepEqual(await consume(10, shorter), consumed(0, START_AT + 61_500 + 30_000))
    }
  ),
  examCase('begins another rule at once where waiting ends nothing', async ({ consume, hold, at, standing }) => {
    assert.deepEqual(await consume(10, charge()), consumed(0))
    assert.deepEqual(await consume(1, hourly), consumed(9, START_AT + HOUR_MS))
    const both = (rule: CounterRule): Charge => charge({ limit: 'both', rule })
    assert.equal((await hold(both(CONCURRENT))).outcome, 'held')
    assert.deepEqual(await standing(both(HOURLY)), [0, 0, 10])
    assert.deepEqual(await consume(4, both(HOURLY)), consumed(6, START_AT + HOUR_MS))
    at(1)
    assert.deepEqual(await standing(both(CONCURRENT)), [0, 0, 10])
  })
]
