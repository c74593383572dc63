import assert from 'node:assert/strict'
import { isSuiteError } from '@enablement/core'
import { QUANTITY_MAX } from '../../event/usage-event.ts'
import type { Charge, CounterRule } from '../../quota/charge.ts'
import { SPENDS_MAX, type SpendAnswer } from '../../quota/quota-store.ts'
import { widestIdentifier } from '../widest-identifier.ts'
import {
  CONCURRENT,
  charge,
  consumed,
  DAY_MS,
  examCase,
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

const NAMES = [
  'a',
  'a:b',
  'a/b',
  'b',
  '{a}',
  '}',
  '%',
  '%3A',
  'ä',
  '💶',
  '"',
  "'; drop table",
  '%:b',
  '[]',
  'a'.repeat(255)
]

const replayedOf = (answer: SpendAnswer): boolean | undefined =>
  answer.outcome === 'consumed' ? answer.replayed : undefined

const wide = (differences: Partial<Charge> = {}): Charge => charge({ quantity: QUANTITY_MAX, ...differences })

const IMPOSSIBLE = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, QUANTITY_MAX + 1]

/** Rules that are none. */
const NO_RULES: readonly CounterRule[] = [
  { kind: 'every', everyMs: 0 },
  { kind: 'every', everyMs: 1.5 },
  { kind: 'boundaries', boundaries: [START_AT] },
  { kind: 'boundaries', boundaries: [START_AT, START_AT] },
  { kind: 'boundaries', boundaries: [1, 2, 3, 4, 5, 6, 7, 8, 9] },
  { kind: 'rolling', rollingMs: 0 },
  { kind: 'bucket', refill: 0, perMs: 1 },
  { kind: 'bucket', refill: 1, perMs: 0 },
  // What comes back in a period could not be counted exactly.
  { kind: 'bucket', refill: 9_000_001, perMs: 1_000_000_000 },
  { kind: 'weekly' } as unknown as CounterRule
]

/** Names, amounts and numbers at their limits and beyond. */
export const edgeCases = [
  examCase(
    'keeps tenants, limits, paths, scopes and keys apart, whatever they are called',
    async ({ consume, store, tenant }) => {
      const call = { keys: ['call'] }
      for (const path of [[], ...NAMES.map((name) => [name]), ['a', 'b'], ['a', 'b', 'a']]) {
        const scope = JSON.stringify(path)
        assert.deepEqual(await consume(9, charge({ path }), { ...call, scope }), consumed(1), scope)
      }
      for (const name of NAMES) {
        const other = `${tenant}${name}`.slice(0, 255)
        const group = { scope: 'quota', charges: [charge()], amounts: [9], keys: ['call'], idempotencyMs: DAY_MS }
        assert.deepEqual(await store.consume(other, [group]), [[consumed(1)]])
      }
      assert.deepEqual(await consume(9, charge({ limit: 'other' }), { ...call, scope: 'other' }), consumed(1))
      assert.deepEqual(await consume(9, charge({ limit: 'units.a' }), { ...call, scope: 'units.a' }), consumed(1))
      // Pairs that are one text when the parts are joined, whatever joins them.
      const hundreds = charge({ limit: 'hundreds', quantity: 999 })
      for (const joint of [':', '/', ',', '","', '|', '%3A']) {
        assert.equal(replayedOf(await consume(1, hundreds, { scope: `a${joint}b`, keys: ['c'] })), false)
        assert.equal(replayedOf(await consume(1, hundreds, { scope: 'a', keys: [`b${joint}c`] })), false)
      }
      for (const key of NAMES) {
        assert.equal(replayedOf(await consume(1, hundreds, { keys: [key] })), false)
        assert.equal(replayedOf(await consume(1, hundreds, { keys: [key] })), true)
      }
    }
  ),
  examCase('takes names of the greatest length, width and depth together', async ({ store, tenant }) => {
    const path = Array.from({ length: 8 }, (_, level) => widestIdentifier(11 + 2 * level))
    const charges = path.map((_, level) => charge({ limit: 'x'.repeat(64), path: path.slice(0, level + 1) }))
    const widest = widestIdentifier(7, tenant)
    const scope = JSON.stringify(path)
    const group = {
      scope,
      charges,
      amounts: [1, 1],
      keys: [widestIdentifier(13), widestIdentifier(15)],
      idempotencyMs: DAY_MS
    }
    assert.deepEqual(await store.consume(widest, [group]), [[consumed(9), consumed(8)]])
    assert.deepEqual(await store.consume(widest, [group]), [[consumed(9, null, true), consumed(8, null, true)]])
    const hold = {
      scope,
      key: widestIdentifier(17),
      charges,
      amount: 8,
      amountMin: 8,
      ttlMs: MINUTE_MS,
      onExpiry: 'returned',
      keepMs: DAY_MS
    } as const
    assert.deepEqual(await store.hold(widest, hold), held(8, START_AT + MINUTE_MS, START_AT))
    assert.deepEqual(
      await store.settle(widest, { scope, key: hold.key, charges, actual: 3, keepMs: DAY_MS }),
      settled(3)
    )
    const readings = await store.read(widest, charges)
    assert.ok(!('outcome' in readings) && readings.length === 8 && readings.every(({ used }) => used === 5))
    assert.deepEqual(
      readings.map((reading) => reading.path),
      charges.map((one) => one.path)
    )
  }),
  examCase('names an expired hold in full, however long its names are', async ({ hold, at, store, tenant }) => {
    const [scope, key] = [JSON.stringify([widestIdentifier(3), widestIdentifier(5)]), widestIdentifier(9)]
    await hold(charge(), { scope, key, ttlMs: 1 })
    at(1)
    const ended = (await store.endExpired(100)).filter((one) => one.tenant === tenant)
    assert.deepEqual(ended, [{ tenant, scope, key }])
  }),
  examCase('is exact at the largest amounts', async ({ consume }) => {
    assert.deepEqual(await consume(QUANTITY_MAX - 2, wide()), consumed(2))
    assert.deepEqual(await consume(QUANTITY_MAX, wide()), refused(2))
    assert.deepEqual(await consume(3, wide()), refused(2))
    assert.deepEqual(await consume(1, wide()), consumed(1))
    assert.deepEqual(await consume(1, wide()), consumed(0))
    assert.deepEqual(await consume(1, wide()), refused(0))
  }),
  examCase(
    'is exact with the largest holds, stretches and units in use',
    async ({ hold, settle, consume, standing, at }) => {
      const rolling = wide({ rule: ROLLING, limit: 'rolling' })
      const concurrent = wide({ rule: CONCURRENT, limit: 'concurrent' })
      await consume(QUANTITY_MAX - 3, rolling)
      at(SECOND_MS)
      assert.deepEqual(await consume(2, rolling), consumed(1, START_AT + 62_000))
      assert.deepEqual(
        await hold([rolling, concurrent], { amount: 1 }),
        held(1, START_AT + SECOND_MS + HOUR_MS, START_AT + SECOND_MS)
      )
      assert.deepEqual(await standing(rolling), [QUANTITY_MAX, 1, 0])
      assert.deepEqual(
        await settle(QUANTITY_MAX, [rolling, concurrent]),
        settled(QUANTITY_MAX, { charged: 1, overrun: QUANTITY_MAX - 1 })
      )
      assert.deepEqual(
        await hold(concurrent, { key: 'all', amount: QUANTITY_MAX }),
        held(QUANTITY_MAX, START_AT + SECOND_MS + HOUR_MS, START_AT + SECOND_MS)
      )
      assert.deepEqual(await hold(concurrent, { key: 'more', amount: 1 }), refused(0))
      assert.deepEqual(await standing(concurrent), [QUANTITY_MAX, QUANTITY_MAX, 0])
    }
  ),
  examCase('is exact with the largest and the slowest buckets', async ({ consume, at, read }) => {
    const slow = wide({ limit: 'slow', rule: { kind: 'bucket', refill: 28_518, perMs: 315_576_000_000 } })
    await consume(QUANTITY_MAX, slow)
    at(315_575_999_999)
    assert.deepEqual(await consume(28_518, slow), refused(28_517, START_AT + 315_576_000_000))
    at(315_576_000_000)
    assert.deepEqual(await consume(28_518, slow), consumed(0))
    const fast = wide({ limit: 'fast', rule: { kind: 'bucket', refill: QUANTITY_MAX, perMs: 1 } })
    at(0)
    assert.deepEqual(await consume(QUANTITY_MAX, fast), consumed(0, START_AT + 1))
    at(2_000_000_000_000)
    assert.equal((await read(fast)).remaining, QUANTITY_MAX)
    // The last part before a whole unit, which a division by way of the reciprocal would round up.
    const close = wide({ limit: 'close', rule: { kind: 'bucket', refill: 692_307_692_307_687, perMs: 13 } })
    at(0)
    await consume(QUANTITY_MAX, close)
    at(12)
    assert.equal((await read(close)).remaining, 639_053_254_437_864)
    assert.deepEqual(await consume(639_053_254_437_865, close), refused(639_053_254_437_864, START_AT + 13))
    // A third of a unit each millisecond: no product of doubles would be exact.
    const odd = wide({ limit: 'odd', rule: { kind: 'bucket', refill: 2_999_999_999_999_999, perMs: 3 } })
    at(0)
    await consume(QUANTITY_MAX, odd)
    at(1)
    assert.equal((await read(odd)).remaining, 999_999_999_999_999)
    at(2)
    assert.equal((await read(odd)).remaining, 1_999_999_999_999_999)
    at(3)
    assert.equal((await read(odd)).remaining, 2_999_999_999_999_999)
    at(9)
    assert.equal((await read(odd)).remaining, 8_999_999_999_999_997)
    assert.equal((await read(odd)).resetsAt, START_AT + 10)
  }),
  examCase(
    'throws an error of the suite for an impossible amount, and changes nothing',
    async ({ consume, hold, settle, extend, store, tenant, standing }) => {
      await hold(charge(), { amount: 1 })
      for (const amount of [0, ...IMPOSSIBLE]) {
        await rejects(() => consume(amount, charge(), { keys: ['call'] }), `${amount}`)
        await rejects(() => consume(1, charge(), { amounts: [1, amount] }), `1 and ${amount}`)
        await rejects(() => hold(charge(), { key: 'other', amount, amountMin: 1 }), `${amount}`)
        await rejects(() => hold(charge(), { key: 'other', amount: 5, amountMin: amount }), `${amount} at least`)
      }
      await rejects(() => hold(charge(), { key: 'other', amount: 2, amountMin: 3 }), 'more at least than at most')
      for (const amount of IMPOSSIBLE) {
        await rejects(() => settle(amount, charge()), `${amount}`)
        await rejects(() => extend(charge(), { amount }), `${amount}`)
        await rejects(() => consume(1, charge({ quantity: amount })), `${amount}`)
        await rejects(() => consume(1, charge({ reserved: [{ path: ['a'], quantity: amount }] })), `${amount}`)
      }
      for (const limit of [0, 1.5, Number.NaN, 1e9]) await rejects(() => store.endExpired(limit), `${limit}`)
      await rejects(() => store.read(tenant, []), 'no charges')
      assert.deepEqual(await standing(charge()), [1, 1, 9])
      assert.deepEqual(await consume(1, charge(), { keys: ['call'] }), consumed(8))
    }
  ),
  examCase(
    'throws an error of the suite for a rule, a duration or a name that is none, and changes nothing',
    async ({ consume, hold, settle, extend, store, tenant, standing }) => {
      for (const rule of NO_RULES) {
        await rejects(() => consume(1, charge({ rule })), JSON.stringify(rule))
        await rejects(() => store.read(tenant, [charge({ rule })]), JSON.stringify(rule))
      }
      for (const ms of [0, -1, 1.5, Number.NaN]) {
        await rejects(() => consume(1, charge(), { idempotencyMs: ms }), `${ms}`)
        await rejects(() => hold(charge(), { ttlMs: ms }), `${ms}`)
        await rejects(() => hold(charge(), { keepMs: ms }), `${ms}`)
        await rejects(() => settle(0, charge(), { keepMs: ms }), `${ms}`)
        await rejects(() => extend(charge(), { ttlMs: ms }), `${ms}`)
      }
      for (const name of ['', '\0', '\ud800', 'a'.repeat(256)]) {
        const group = { scope: 'quota', charges: [charge()], amounts: [1], idempotencyMs: 1 }
        await rejects(() => store.consume(name, [group]), 'a tenant')
        await rejects(() => consume(1, charge({ limit: name })), 'a limit')
        await rejects(() => consume(1, charge({ path: [name] })), 'a path')
        await rejects(() => consume(1, charge(), { keys: [name] }), 'a key')
        await rejects(() => hold(charge(), { key: name }), 'a key')
      }
      await rejects(() => consume(1, charge(), { scope: '' }), 'a scope')
      await rejects(() => consume(1, charge(), { keys: ['a', 'b'] }), 'two keys for one amount')
      await rejects(() => consume(1, []), 'no charges')
      await rejects(() => consume(1, [charge(), charge()]), 'a counter twice')
      await rejects(
        () =>
          consume(
            1,
            Array.from({ length: 17 }, (_, at) => charge({ path: [`${at}`] }))
          ),
        '17 charges'
      )
      const reserved = Array.from({ length: 65 }, (_, at) => ({ path: [`${at}`], quantity: 1 }))
      await rejects(() => consume(1, charge({ reserved })), '65 parts')
      await rejects(() => consume(1, charge({ rule: CONCURRENT })), 'a spend of units in use')
      await rejects(() => consume(1, charge(), { amounts: Array(SPENDS_MAX + 1).fill(1) }), 'too many spends')
      assert.deepEqual(await standing(charge()), [0, 0, 10])
    }
  ),
  examCase('decides as many spends as a call may bring', async ({ store, tenant }) => {
    const charges = [charge({ quantity: SPENDS_MAX - 1, rule: HOURLY })]
    const keys = Array.from({ length: SPENDS_MAX }, (_, at) => `call-${at}`)
    const group = { scope: 'quota', charges, amounts: keys.map(() => 1), keys, idempotencyMs: DAY_MS }
    const [answers = []] = await store.consume(tenant, [group])
    assert.equal(answers.filter(({ outcome }) => outcome === 'consumed').length, SPENDS_MAX - 1)
    assert.deepEqual(answers.at(-1), refused(0, START_AT + HOUR_MS))
    const [again = []] = await store.consume(tenant, [group])
    assert.equal(again.filter((answer) => replayedOf(answer) === true).length, SPENDS_MAX - 1)
  }),
  examCase(
    'throws the reason of a signal that has aborted, and changes nothing',
    async ({ store, tenant, standing }) => {
      const signal = AbortSignal.abort(new Error('called off'))
      const group = { scope: 'quota', charges: [charge()], amounts: [1], idempotencyMs: 1 }
      await assert.rejects(store.consume(tenant, [group], { signal }), /called off/)
      await assert.rejects(store.read(tenant, [charge()], { signal }), /called off/)
      await assert.rejects(store.endExpired(1, { signal }), /called off/)
      assert.deepEqual(await standing(charge()), [0, 0, 10])
    }
  )
]

async function rejects(call: () => Promise<unknown>, what: string): Promise<void> {
  await assert.rejects(call, (error) => isSuiteError(error), what)
}
