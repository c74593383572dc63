import assert from 'node:assert/strict'
import type { SpendAnswer } from '../../quota/quota-store.ts'
import { charge, consumed, DAY_MS, examCase, HOUR_MS, HOURLY, refused, START_AT } from './exam.ts'

const wasConsumed = ({ outcome }: SpendAnswer): boolean => outcome === 'consumed'

/** Spends and their keys. */
export const spendCases = [
  examCase('spends what is there and says what remains', async ({ consume }) => {
    assert.deepEqual(await consume(3, charge()), consumed(7))
    assert.deepEqual(await consume(7, charge()), consumed(0))
  }),
  examCase('takes nothing when it refuses', async ({ consume }) => {
    assert.deepEqual(await consume(8, charge()), consumed(2))
    assert.deepEqual(await consume(5, charge()), refused(2))
    assert.deepEqual(await consume(2, charge()), consumed(0))
    assert.deepEqual(await consume(1, charge()), refused(0))
  }),
  examCase('refuses everything under a limit of zero', async ({ consume }) => {
    assert.deepEqual(await consume(1, charge({ quantity: 0 })), refused(0))
  }),
  examCase('decides the spends of a call in their order, each for itself', async ({ store, tenant }) => {
    const charges = [charge()]
    const group = { scope: 'quota', charges, amounts: [6, 5, 4, 1], idempotencyMs: DAY_MS }
    assert.deepEqual(await store.consume(tenant, [group]), [[consumed(4), refused(4), consumed(0), refused(0)]])
  }),
  examCase('lets the groups of a call draw on the same counters, one after the other', async ({ store, tenant }) => {
    const own = charge({ path: ['agent'], quantity: 5 })
    const groups = [
      { scope: 'agent', charges: [own, charge()], amounts: [3, 3], keys: ['a', undefined], idempotencyMs: DAY_MS },
      { scope: 'tenant', charges: [charge()], amounts: [7, 8], keys: [undefined, 'a'], idempotencyMs: DAY_MS },
      { scope: 'agent', charges: [own, charge()], amounts: [1], idempotencyMs: DAY_MS }
    ]
    assert.deepEqual(await store.consume(tenant, groups), [
      [consumed(2), refused(2)],
      [consumed(0), refused(0)],
      [refused(0, null, 1)]
    ])
    assert.deepEqual(await store.consume(tenant, []), [])
  }),
  examCase('spends once for a key and repeats the first answer', async ({ consume }) => {
    const call = { keys: ['call'] }
    assert.deepEqual(await consume(4, charge(), call), consumed(6))
    assert.deepEqual(await consume(1, charge()), consumed(5))
    assert.deepEqual(await consume(4, charge(), call), consumed(6, null, true))
    assert.deepEqual(await consume(5, charge()), consumed(0))
    assert.deepEqual(await consume(4, charge(), call), consumed(6, null, true))
  }),
  examCase('knows a key that occurs twice in a call', async ({ consume, store, tenant }) => {
    const group = {
      scope: 'quota',
      charges: [charge()],
      amounts: [4, 4, 5],
      keys: ['a', 'a', 'a'],
      idempotencyMs: DAY_MS
    }
    const conflict = { outcome: 'conflict', firstAmount: 4 }
    assert.deepEqual(await store.consume(tenant, [group]), [[consumed(6), consumed(6, null, true), conflict]])
    assert.deepEqual(await consume(6, charge()), consumed(0))
  }),
  examCase('does not burn a key by refusing it', async ({ consume, at }) => {
    const hourly = charge({ rule: HOURLY })
    const call = { keys: ['call'] }
    assert.deepEqual(await consume(10, hourly), consumed(0, START_AT + HOUR_MS))
    assert.deepEqual(await consume(4, hourly, call), refused(0, START_AT + HOUR_MS))
    at(HOUR_MS)
    assert.deepEqual(await consume(4, hourly, call), consumed(6, START_AT + 2 * HOUR_MS))
  }),
  examCase('reports a key that comes with another amount and spends nothing', async ({ consume }) => {
    assert.deepEqual(await consume(4, charge(), { keys: ['call'] }), consumed(6))
    assert.deepEqual(await consume(5, charge(), { keys: ['call'] }), { outcome: 'conflict', firstAmount: 4 })
    assert.deepEqual(await consume(1, charge()), consumed(5))
  }),
  examCase('keeps the keys of scopes apart', async ({ consume }) => {
    assert.deepEqual(await consume(4, charge(), { keys: ['call'], scope: 'a' }), consumed(6))
    assert.deepEqual(await consume(5, charge(), { keys: ['call'], scope: 'b' }), consumed(1))
    assert.deepEqual(await consume(4, charge(), { keys: ['call'], scope: 'a' }), consumed(6, null, true))
  }),
  examCase('remembers a key beyond its window, for as long as it was told and no longer', async ({ consume, at }) => {
    const hourly = charge({ rule: HOURLY })
    const call = { keys: ['call'], idempotencyMs: 3 * HOUR_MS }
    at(10)
    assert.deepEqual(await consume(4, hourly, call), consumed(6, START_AT + HOUR_MS))
    at(10 + 3 * HOUR_MS - 1)
    assert.deepEqual(await consume(4, hourly, call), consumed(6, START_AT + HOUR_MS, true))
    at(10 + 3 * HOUR_MS)
    assert.deepEqual(await consume(4, hourly, call), consumed(6, START_AT + 4 * HOUR_MS))
    assert.deepEqual(await consume(4, hourly, call), consumed(6, START_AT + 4 * HOUR_MS, true))
  }),
  examCase('never sells more than there is to callers at the same time', async ({ consume }) => {
    const hundred = charge({ quantity: 100 })
    const amounts = Array.from({ length: 64 }, (_, at) => 1 + (at % 5))
    const answers = await Promise.all(amounts.map((amount) => consume(amount, hundred)))
    const sold = amounts.filter((_, at) => wasConsumed(answers[at] as SpendAnswer)).reduce((sum, one) => sum + one, 0)
    assert.ok(sold <= 100, `sold ${sold} of 100`)
    assert.deepEqual(await consume(100 - sold + 1, hundred), refused(100 - sold))
  }),
  examCase('sells the last unit to one of many', async ({ consume }) => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => consume(1, charge({ quantity: 1 }))))
    assert.equal(answers.filter(wasConsumed).length, 1)
  }),
  examCase('spends once for calls with one key at the same time', async ({ consume }) => {
    const answers = await Promise.all(Array.from({ length: 16 }, () => consume(4, charge(), { keys: ['call'] })))
    assert.equal(answers.filter((answer) => answer.outcome === 'consumed' && !answer.replayed).length, 1)
    assert.ok(answers.every((answer) => answer.outcome === 'consumed' && answer.remaining === 6))
    assert.deepEqual(await consume(7, charge()), refused(6))
  }),
  examCase(
    'counts what was used against the limit as it is now, and never below zero',
    async ({ consume, standing }) => {
      assert.deepEqual(await consume(8, charge()), consumed(2))
      assert.deepEqual(await consume(1, charge({ quantity: 5 })), refused(0))
      assert.deepEqual(await standing(charge({ quantity: 5 })), [8, 0, 0])
      assert.deepEqual(await consume(1, charge({ quantity: 9 })), consumed(0))
      assert.deepEqual(await consume(1, charge({ quantity: 12 })), consumed(2))
    }
  ),
  examCase('draws on all counters of a path or on none', async ({ consume, standing }) => {
    const team = charge({ path: ['team'], quantity: 5 })
    const agent = charge({ path: ['team', 'agent'], quantity: 9, rule: HOURLY })
    const path = [agent, team, charge()]
    assert.deepEqual(await consume(4, path), consumed(1))
    assert.deepEqual(await consume(2, path), refused(1, null, 1))
    assert.deepEqual(await standing(agent), [4, 0, 5])
    assert.deepEqual(await standing(charge()), [4, 0, 6])
    assert.deepEqual(await consume(6, charge()), consumed(0))
    assert.deepEqual(await consume(1, path), refused(0, null, 2))
    assert.deepEqual(await standing(team), [4, 0, 1])
  }),
  examCase('says of several counters that refuse when the last of them could have enough', async ({ consume }) => {
    const minutely = charge({ limit: 'minutely', rule: { kind: 'every', everyMs: 60_000 }, quantity: 5 })
    const hourly = charge({ limit: 'hourly', rule: HOURLY, quantity: 5 })
    assert.deepEqual(await consume(5, [minutely, hourly]), consumed(0, START_AT + 60_000))
    assert.deepEqual(await consume(1, [minutely, hourly]), refused(0, START_AT + HOUR_MS))
    assert.deepEqual(await consume(1, [minutely, charge()]), refused(0, START_AT + 60_000))
    assert.deepEqual(await consume(11, [minutely, charge()]), refused(0, null))
  }),
  examCase('says that waiting does not help with more than the quantity', async ({ consume }) => {
    assert.deepEqual(await consume(11, charge({ rule: HOURLY })), refused(10, null))
    assert.deepEqual(await consume(10, charge({ rule: HOURLY })), consumed(0, START_AT + HOUR_MS))
  })
]
