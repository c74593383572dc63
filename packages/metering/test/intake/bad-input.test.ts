import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import { type BatchOutcome, createMeter, type UsageEvent } from '@enablement/metering'
import { memoryUsageStore } from '@enablement/metering/memory'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { AT, event } from './stage.ts'

const whole = { tenant: 'org', subscription: 'sub', from: 946_684_800_000, to: 253_402_300_799_999 }

/** Good events among whatever may be sent in their place. */
const good = fc
  .record({ id: fc.nat(5), quantity: fc.nat(3) })
  .map(({ id, quantity }): UsageEvent => ({ ...event, transactionId: `t${id}`, quantity }))
const input = fc.oneof(
  good,
  fc
    .record({ key: fc.constantFrom(...Object.keys(event), 'source', 'properties'), value: fc.anything() })
    .map(({ key, value }) => ({ ...event, transactionId: 'odd', [key]: value })),
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true })
)

describe('a batch of arbitrary input', () => {
  const scale = inject('scale')
  test.prop([fc.array(input, { maxLength: 20 })], { numRuns: Math.ceil(150 * scale) })(
    'has an outcome for each, typed, and counts what is said to be counted and nothing else',
    async (inputs) => {
      await using db = sqliteDatabase({ path: ':memory:' })
      await migrate(db, [meteringSchema])
      const outcomes: (readonly BatchOutcome[])[] = []
      for (const store of [memoryUsageStore(), sqlUsageStore(db)]) {
        const meter = createMeter({ store, platform: testPlatform({ now: AT }) })
        const given = await meter.recordBatch(inputs as UsageEvent[])
        outcomes.push(given)
        expect(given).toHaveLength(inputs.length)
        let sum = 0n
        for (const [at, outcome] of given.entries()) {
          const sent = inputs[at] as UsageEvent
          if (outcome.outcome === 'rejected') {
            expect(outcome.issues.length).toBeGreaterThan(0)
            for (const { message } of outcome.issues) expect(message).not.toBe('')
          } else if (outcome.outcome === 'recorded') {
            if (sent.tenant === 'org' && sent.subscription === 'sub') sum += BigInt(sent.quantity)
          } else expect(['duplicate', 'conflict', 'quarantined']).toContain(outcome.outcome)
        }
        const totals = await meter.totals(whole)
        expect(totals.reduce((all, { quantity }) => all + quantity, 0n)).toBe(sum)
      }
      expect(outcomes[0]).toEqual(outcomes[1])
    },
    600_000
  )
})

describe('hostile input', () => {
  it('of 10 MB, of cycles, getters and proxies is refused for itself, and the batch goes on', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [meteringSchema])
    const meter = createMeter({ store: sqlUsageStore(db), platform: testPlatform({ now: AT }) })
    const cyclic: Record<string, unknown> = {}
    cyclic['self'] = cyclic
    const throwing = {
      get tenant(): string {
        throw new Error('hostile')
      }
    }
    const hostile: unknown[] = [
      { ...event, properties: { text: 'x'.repeat(10_000_000) } },
      { ...event, transactionId: 'x'.repeat(10_000_000) },
      { ...event, properties: Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`k${at}`, at])) },
      { ...event, properties: cyclic },
      throwing,
      new Proxy({ ...event }, { ownKeys: () => ['tenant'], getOwnPropertyDescriptor: () => undefined, get: () => 1 }),
      { ...event, transactionId: "'; drop table metering_usage; --" },
      { ...event, transactionId: '"],["' },
      { ...event, transactionId: 'a\u0000b' },
      { ...event, subscription: '__proto__', transactionId: 'constructor', metric: 'toString' },
      JSON.parse('{"__proto__":{"tenant":"org"},"tenant":"org"}'),
      { ...event, quantity: 9e15 + 2 },
      { ...event, at: Number.NaN }
    ]
    const outcomes = await meter.recordBatch([event, ...(hostile as UsageEvent[]), { ...event, transactionId: 'last' }])
    expect(outcomes.map(({ outcome }) => outcome)).toEqual([
      'recorded',
      ...Array(6).fill('rejected'),
      'recorded',
      'recorded',
      'rejected',
      'recorded',
      'rejected',
      'rejected',
      'rejected',
      'recorded'
    ])
    expect(await meter.totals(whole)).toEqual([{ metric: 'tokens', rollup: 'sum', quantity: 20n, events: 4 }])
    const odd = await meter.totals({ ...whole, subscription: '__proto__' })
    expect(odd).toEqual([{ metric: 'toString', rollup: 'sum', quantity: 5n, events: 1 }])
  })
})
