import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createMeter, type UsageEvent } from '@enablement/metering'
import { memoryUsageStore } from '@enablement/metering/memory'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'

const START_AT = Date.UTC(2026, 0, 31, 22)
const SPAN_MS = 5 * 3_600_000

const event: fc.Arbitrary<UsageEvent> = fc.record({
  tenant: fc.constant('org'),
  subscription: fc.constantFrom('a', 'b'),
  transactionId: fc.nat(30).map((id) => `t${id}`),
  metric: fc.constantFrom('tokens', 'calls'),
  quantity: fc.oneof(fc.nat(3), fc.constantFrom(999_999, 1_000_000, 9_000_000_000_000_000)),
  at: fc.oneof(
    fc.constantFrom(0, 1, 3_599_999, 3_600_000, 7_200_000).map((ms) => START_AT + ms),
    fc.nat(SPAN_MS - 1).map((ms) => START_AT + ms)
  )
})

/** Calls, each of one event or of a batch, made at once. */
const rounds = fc.array(fc.array(fc.array(event, { minLength: 1, maxLength: 6 }), { maxLength: 4 }), { maxLength: 6 })

const range = fc
  .tuple(fc.nat(SPAN_MS), fc.nat(SPAN_MS))
  .map(([a, b]): [number, number] => [START_AT + Math.min(a, b), START_AT + Math.max(a, b)])

interface Case {
  readonly rounds: readonly (readonly (readonly UsageEvent[])[])[]
  readonly ranges: readonly [number, number][]
}

/** Sends the rounds, then all of it again, and expects what counting each identity once by hand gives. */
async function play(store: ReturnType<typeof memoryUsageStore>, { rounds, ranges }: Case): Promise<void> {
  const meter = createMeter({ store })
  const counted = new Map<string, UsageEvent>()
  for (const calls of [...rounds, ...rounds]) {
    const outcomes = await Promise.all(
      calls.map(async (call) =>
        call.length === 1 ? [await meter.record(call[0] as UsageEvent)] : meter.recordBatch(call)
      )
    )
    const expected = calls.map((call) =>
      call.map((sent) => {
        const identity = `${sent.subscription} ${sent.transactionId}`
        const first = counted.get(identity)
        if (first === undefined) {
          counted.set(identity, sent)
          return 'recorded'
        }
        return JSON.stringify(first) === JSON.stringify(sent) ? 'duplicate' : 'conflict'
      })
    )
    expect(outcomes.map((call) => call.map(({ outcome }) => outcome))).toEqual(expected)
  }
  const sum = (from: number, to: number, subscription: string) =>
    ['calls', 'tokens'].flatMap((metric) => {
      const within = [...counted.values()].filter(
        (one) => one.subscription === subscription && one.metric === metric && one.at >= from && one.at < to
      )
      if (within.length === 0) return []
      return [
        { metric, quantity: within.reduce((all, { quantity }) => all + BigInt(quantity), 0n), events: within.length }
      ]
    })
  for (const [from, to] of [...ranges, [START_AT, START_AT + SPAN_MS] as const]) {
    for (const subscription of ['a', 'b']) {
      expect(await meter.totals({ tenant: 'org', subscription, from, to })).toEqual(sum(from, to, subscription))
    }
  }
}

const scale = inject('scale')
const cases = fc.record({ rounds, ranges: fc.array(range, { maxLength: 6 }) })

describe('usage stores against counting by hand', () => {
  test.prop([cases], { numRuns: Math.ceil(100 * scale) })(
    'the memory store counts each event once, in any range',
    async (usage) => {
      await play(memoryUsageStore(), usage)
    },
    600_000
  )

  test.prop([cases], { numRuns: Math.ceil(50 * scale) })(
    'the SQL store counts each event once, in any range',
    async (usage) => {
      await using db = sqliteDatabase({ path: ':memory:' })
      await migrate(db, [meteringSchema])
      await play(sqlUsageStore(db), usage)
    },
    600_000
  )
})
