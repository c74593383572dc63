import { redisSettings } from '@enablement/core/redis'
import type { Charge, CounterRule, SpendGroup } from '@enablement/metering'
import { redisQuotaStore } from '@enablement/metering/redis'
import { redisQuotaStoreOnClock } from '@enablement/metering/testing'
import { fc, test } from '@fast-check/vitest'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject } from 'vitest'

const scale = inject('scale')
const run = `${process.pid}-${process.hrtime.bigint()}`
let histories = 0

/** 2100: counters that Redis would let expire by its own clock are there as long as the test is. */
const START_AT = 4_102_444_800_000

const RULES: Readonly<Record<string, CounterRule>> = {
  every: { kind: 'every', everyMs: 1_000 },
  boundaries: { kind: 'boundaries', boundaries: [0, 1_500, 3_000, 1_000_000].map((ms) => START_AT - 2_000 + ms) },
  lifetime: { kind: 'lifetime' },
  rolling: { kind: 'rolling', rollingMs: 1_000 },
  bucket: { kind: 'bucket', refill: 3, perMs: 700 }
}
const COUNTERS = ['a', 'b', 'c', 'd', 'e']
const QUANTITY = 9

const chargesOf = (rule: string, counter: string): readonly Charge[] => [
  { limit: counter, path: [], quantity: QUANTITY, rule: RULES[rule] as CounterRule, reserved: [] }
]

const spends = fc.record({
  rule: fc.constantFrom(...Object.keys(RULES)),
  /** Of a counter that is listed twice the second spend stands apart. */
  each: fc.array(fc.tuple(fc.constantFrom(...COUNTERS), fc.integer({ min: 1, max: 6 })), { minLength: 1, maxLength: 8 })
})
const step = fc.oneof(
  { weight: 6, arbitrary: spends.map((asked) => ({ kind: 'spends', ...asked }) as const) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: -900, max: 1_400 }).map((byMs) => ({ kind: 'clock', byMs }) as const)
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...Object.keys(RULES)), fc.constantFrom(...COUNTERS))
      .map(([rule, counter]) => ({ kind: 'hold', rule, counter }) as const)
  }
)

describe('spends that stand together in a call', () => {
  let client: Redis
  beforeAll(async () => {
    client = new Redis(inject('redisUrl'), redisSettings())
    await redisQuotaStore(client).checkServer()
  })
  afterAll(() => client.disconnect())

  test.prop([fc.array(step, { minLength: 1, maxLength: 25 })], { numRuns: Math.ceil(40 * scale) })(
    'are answered as with keys, which stand alone, and leave the same counters behind',
    async (history) => {
      histories += 1
      const [together, alone] = [`org-${run}-${histories}-together`, `org-${run}-${histories}-alone`]
      let now = START_AT
      const store = redisQuotaStoreOnClock(client, { now: () => now })
      let keys = 0
      for (const asked of history) {
        if (asked.kind === 'clock') now += asked.byMs
        else if (asked.kind === 'hold') {
          const { rule, counter } = asked
          const charges = chargesOf(rule, counter)
          keys += 1
          const scope = counter
          const request = { scope, key: `hold-${keys}`, charges, amount: 2, amountMin: 1, ttlMs: 400, keepMs: 1_000 }
          const [one, other] = await Promise.all(
            [together, alone].map((tenant) => store.hold(tenant, { ...request, onExpiry: 'returned' }))
          )
          expect(one).toEqual(other)
        } else {
          const groups = asked.each.map(([counter, amount]): SpendGroup => {
            return { scope: counter, charges: chargesOf(asked.rule, counter), amounts: [amount], idempotencyMs: 1_000 }
          })
          const keyed = groups.map((group): SpendGroup => {
            keys += 1
            return { ...group, keys: [`spend-${keys}`] }
          })
          expect(await store.consume(together, groups)).toEqual(await store.consume(alone, keyed))
        }
      }
      const texts = (tenant: string) =>
        Promise.all(COUNTERS.map((name) => client.get(`enablement:quota:{${tenant}}:${name}`)))
      expect(await texts(together)).toEqual(await texts(alone))
    },
    600_000
  )
})
