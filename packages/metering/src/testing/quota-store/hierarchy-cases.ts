import assert from 'node:assert/strict'
import type { Charge, CounterRule } from '../../quota/charge.ts'
import { BUCKET, charge, consumed, examCase, HOUR_MS, HOURLY, MINUTE_MS, ROLLING, refused, START_AT } from './exam.ts'

const child = (name: string, quantity: number, rule: CounterRule): Charge => charge({ path: [name], quantity, rule })

/** Ten units, four of them reserved for `a` and three for `b`; whoever else comes has three. */
function parent(rule: CounterRule, ...without: readonly string[]): Charge {
  const parts = [
    { path: ['a'], quantity: 4 },
    { path: ['b'], quantity: 3 }
  ]
  return charge({ rule, reserved: parts.filter(({ path }) => !without.includes(path[0] as string)) })
}

/** Parts of a quantity that are reserved for counters below it. */
export const hierarchyCases = [
  examCase('gives nobody what is reserved for others', async ({ consume, standing }) => {
    const lifetime = { kind: 'lifetime' } as const
    const a = [child('a', 4, lifetime), parent(lifetime, 'a')]
    const b = [child('b', 3, lifetime), parent(lifetime, 'b')]
    assert.deepEqual(await consume(4, parent(lifetime)), refused(3, null))
    assert.deepEqual(await consume(3, parent(lifetime)), consumed(0))
    assert.deepEqual(await consume(1, parent(lifetime)), refused(0, null))
    assert.deepEqual(await consume(4, a), consumed(0))
    assert.deepEqual(await consume(1, parent(lifetime)), refused(0, null))
    assert.deepEqual(await consume(1, a), refused(0, null))
    assert.deepEqual(await consume(3, b), consumed(0))
    assert.deepEqual(await standing(parent(lifetime)), [10, 0, 0])
  }),
  examCase('reserves what is not used yet, and no more', async ({ consume }) => {
    const a = [child('a', 9, HOURLY), parent(HOURLY, 'a')]
    assert.deepEqual(await consume(2, a), consumed(5, START_AT + HOUR_MS))
    assert.deepEqual(await consume(4, parent(HOURLY)), refused(3, null))
    assert.deepEqual(await consume(3, parent(HOURLY)), consumed(0, START_AT + HOUR_MS))
    // Two of its own part are left, and what it took beyond would be others'.
    assert.deepEqual(await consume(3, a), refused(2, START_AT + HOUR_MS, 1))
    assert.deepEqual(await consume(2, a), consumed(0, START_AT + HOUR_MS))
  }),
  examCase('says that waiting does not help with what is reserved for others', async ({ consume }) => {
    assert.deepEqual(await consume(3, parent(HOURLY)), consumed(0, START_AT + HOUR_MS))
    assert.deepEqual(await consume(3, parent(HOURLY)), refused(0, START_AT + HOUR_MS))
    assert.deepEqual(await consume(4, parent(HOURLY)), refused(0, null))
    assert.deepEqual(await consume(1, parent(HOURLY, 'a', 'b')), consumed(6, START_AT + HOUR_MS))
  }),
  examCase('reserves anew in a new window', async ({ consume, at }) => {
    const a = [child('a', 4, HOURLY), parent(HOURLY, 'a')]
    assert.deepEqual(await consume(4, a), consumed(0, START_AT + HOUR_MS))
    assert.deepEqual(await consume(3, parent(HOURLY)), consumed(0, START_AT + HOUR_MS))
    at(HOUR_MS)
    assert.deepEqual(await consume(4, parent(HOURLY)), refused(3, null))
    assert.deepEqual(await consume(3, parent(HOURLY)), consumed(0, START_AT + 2 * HOUR_MS))
  }),
  examCase('knows that what leaves a stretch is reserved again', async ({ consume, at }) => {
    const a = [child('a', 4, ROLLING), parent(ROLLING, 'a')]
    assert.deepEqual(await consume(4, a), consumed(0, START_AT + MINUTE_MS + 1_000))
    at(10_000)
    assert.deepEqual(await consume(3, parent(ROLLING)), consumed(0, START_AT + 71_000))
    // Four leave at 61 s, but they are a's again; the three leave at 71 s.
    assert.deepEqual(await consume(1, parent(ROLLING)), refused(0, START_AT + 71_000))
    at(61_000)
    assert.deepEqual(await consume(1, parent(ROLLING)), refused(0, START_AT + 71_000))
    at(71_000)
    assert.deepEqual(await consume(3, parent(ROLLING)), consumed(0, START_AT + 72_000 + MINUTE_MS))
  }),
  examCase('fills reserved parts of a bucket with it', async ({ consume, at }) => {
    const a = [child('a', 4, BUCKET), parent(BUCKET, 'a')]
    assert.deepEqual(await consume(3, parent(BUCKET)), consumed(0, START_AT + 3_000))
    assert.deepEqual(await consume(2, parent(BUCKET)), refused(0, START_AT + 2_000))
    assert.deepEqual(await consume(4, a), consumed(0, START_AT + 4_000))
    // What comes back in the first four seconds is a's again.
    assert.deepEqual(await consume(2, parent(BUCKET)), refused(0, START_AT + 7_000))
    at(6_999)
    assert.deepEqual(await consume(3, parent(BUCKET)), refused(2, START_AT + 7_000))
    at(7_000)
    assert.deepEqual(await consume(3, parent(BUCKET)), consumed(0, START_AT + 10_000))
  }),
  examCase('counts what others hold of their part', async ({ consume, hold, settle, standing }) => {
    const lifetime = { kind: 'lifetime' } as const
    const a = [child('a', 4, lifetime), parent(lifetime, 'a')]
    assert.equal((await hold(a, { amount: 4 })).outcome, 'held')
    assert.deepEqual(await consume(4, parent(lifetime)), refused(3, null))
    assert.deepEqual(await standing(parent(lifetime)), [4, 4, 3])
    await settle(1, a)
    assert.deepEqual(await standing(parent(lifetime)), [1, 0, 3])
  }),
  examCase('takes parts that are more than the whole', async ({ consume, standing }) => {
    const parts = [
      { path: ['a'], quantity: 9e15 },
      { path: ['b'], quantity: 9e15 }
    ]
    const all = charge({ quantity: 9e15, reserved: parts, rule: HOURLY })
    assert.deepEqual(await consume(1, all), refused(0, null))
    assert.deepEqual(await standing(all), [0, 0, 0])
    const a = [child('a', 9e15, HOURLY), charge({ quantity: 9e15, rule: HOURLY })]
    assert.deepEqual(await consume(9e15, a), consumed(0, START_AT + HOUR_MS))
    assert.deepEqual(await consume(1, all), refused(0, null))
  })
]
