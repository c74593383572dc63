import type { JsonObject } from '@enablement/core'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import {
  createMeter,
  type MetricDefinition,
  type UsageEvent,
  type UsageStore,
  type UsageTotal
} from '@enablement/metering'
import { memoryUsageStore } from '@enablement/metering/memory'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'

const START_AT = Date.UTC(2026, 0, 31, 22)
const SPAN_MS = 5 * 3_600_000

const metrics = {
  tokens: { rollup: 'sum' },
  calls: { rollup: 'sum' },
  peak: { rollup: 'max' },
  seats: { rollup: 'latest' },
  users: { rollup: 'unique', property: 'user' }
} as const satisfies Record<string, MetricDefinition>

const event: fc.Arbitrary<UsageEvent> = fc.record({
  tenant: fc.constant('org'),
  subscription: fc.constantFrom('a', 'b'),
  transactionId: fc.nat(30).map((id) => `t${id}`),
  metric: fc.constantFrom(...Object.keys(metrics)),
  quantity: fc.oneof(fc.nat(3), fc.constantFrom(999_999, 1_000_000, 9_000_000_000_000_000)),
  at: fc.oneof(
    fc.constantFrom(0, 1, 3_599_999, 3_600_000, 7_200_000).map((ms) => START_AT + ms),
    fc.nat(SPAN_MS - 1).map((ms) => START_AT + ms)
  ),
  properties: fc.constantFrom<JsonObject>({}, { user: 'a' }, { user: 'b' }, { user: 1 })
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

/** What counting by hand gives: all events are received at one instant, so that of two used last the larger counts. */
function byHand(metric: keyof typeof metrics, events: readonly UsageEvent[]): UsageTotal[] {
  const { rollup } = metrics[metric]
  const within = rollup === 'unique' ? events.filter(({ properties }) => properties?.['user'] !== undefined) : events
  if (within.length === 0) return []
  const last = [...within].sort((a, b) => a.at - b.at || a.quantity - b.quantity).at(-1)
  const quantity = {
    sum: () => within.reduce((all, one) => all + BigInt(one.quantity), 0n),
    max: () => BigInt(Math.max(...within.map((one) => one.quantity))),
    latest: () => BigInt(last?.quantity ?? 0),
    unique: () => BigInt(new Set(within.map(({ properties }) => properties?.['user'])).size)
  }[rollup]()
  return [{ metric, rollup, quantity, events: within.length }]
}

/** Sends the rounds, then all of it again, and expects what counting each identity once by hand gives. */
async function play(store: UsageStore, { rounds, ranges }: Case): Promise<void> {
  const meter = createMeter({ store, metrics, platform: testPlatform({ now: START_AT + SPAN_MS }) })
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
  for (const [from, to] of [...ranges, [START_AT, START_AT + SPAN_MS] as const]) {
    for (const subscription of ['a', 'b']) {
      const of = (metric: string): UsageEvent[] =>
        [...counted.values()].filter(
          (one) => one.subscription === subscription && one.metric === metric && one.at >= from && one.at < to
        )
      const expected = (Object.keys(metrics) as (keyof typeof metrics)[])
        .sort()
        .flatMap((name) => byHand(name, of(name)))
      expect(await meter.totals({ tenant: 'org', subscription, from, to })).toEqual(expected)
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

describe('totals of a range that is cut', () => {
  /** One run is many runs: parts give the whole, whichever the cuts, hour boundaries and late events among them. */
  const cut = fc.record({
    events: fc.array(event, { minLength: 1, maxLength: 40 }),
    cuts: fc.array(
      fc.oneof(
        fc.nat(SPAN_MS),
        fc.nat(5).map((hour) => hour * 3_600_000)
      ),
      { maxLength: 5 }
    ),
    receipts: fc.array(fc.nat(20), { maxLength: 4 })
  })
  const whose = { tenant: 'org', subscription: 'a' }
  const DAY_MS = 86_400_000

  test.prop([cut], { numRuns: Math.ceil(60 * scale) })(
    'add up to those of the whole, and what is on the bill and what is adjusted to those of the period',
    async ({ events, cuts, receipts }) => {
      await using db = sqliteDatabase({ path: ':memory:' })
      await migrate(db, [meteringSchema])
      for (const store of [memoryUsageStore(), sqlUsageStore(db)]) {
        const platform = testPlatform({ now: START_AT + SPAN_MS })
        const period = { from: Date.UTC(2026, 0, 31), to: Date.UTC(2026, 1, 2) }
        const calendarOf = () => ({ every: { days: 2 }, timeZone: 'UTC', anchor: '2026-01-31' }) as const
        const meter = createMeter({ store, metrics, platform, calendarOf })
        const half = Math.ceil(events.length / 2)
        await meter.recordBatch(events.slice(0, half))
        await platform.clock.advance(3 * DAY_MS)
        const lateAt = platform.clock.now()
        for (const late of events.slice(half)) {
          await meter.record(late)
          await platform.clock.advance(1)
        }
        const whole = await meter.totals({ ...whose, ...period })
        const edges = [START_AT, ...cuts.map((ms) => START_AT + ms), START_AT + SPAN_MS].sort((a, b) => a - b)
        const parts: UsageTotal[] = []
        for (const [at, from] of edges.slice(0, -1).entries()) {
          parts.push(...(await meter.totals({ ...whose, from, to: edges[at + 1] as number })))
        }
        for (const { metric, rollup, quantity, events: count } of whole) {
          const of = parts.filter((part) => part.metric === metric)
          expect(of.reduce((sum, part) => sum + part.events, 0)).toBe(count)
          const quantities = of.map((part) => part.quantity)
          if (rollup === 'sum') expect(quantities.reduce((sum, next) => sum + next, 0n)).toBe(quantity)
          if (rollup === 'max') expect(quantities.toSorted((a, b) => Number(a - b)).at(-1)).toBe(quantity)
          if (rollup === 'latest') expect(of.at(-1)?.quantity).toBe(quantity)
          if (rollup === 'unique') {
            expect(quantities.every((next) => next <= quantity)).toBe(true)
            expect(quantities.reduce((sum, next) => sum + next, 0n) >= quantity).toBe(true)
          }
        }
        const raised = new Map(
          (await meter.totals({ ...whose, ...period, late: 'excluded' })).map((total) => [total.metric, total.quantity])
        )
        const moments = [lateAt, ...receipts.map((ms) => lateAt + ms), lateAt + DAY_MS].sort((a, b) => a - b)
        for (const [at, receivedFrom] of moments.slice(0, -1).entries()) {
          const receivedTo = moments[at + 1] as number
          for (const { metric, quantity } of await meter.adjustments({ ...whose, receivedFrom, receivedTo })) {
            raised.set(metric, (raised.get(metric) ?? 0n) + quantity)
          }
        }
        expect(Object.fromEntries(raised)).toEqual(
          Object.fromEntries(whole.map(({ metric, quantity }) => [metric, quantity]))
        )
      }
    },
    600_000
  )
})
