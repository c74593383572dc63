import { createDedup } from '@enablement/metering'
import { memoryDedupStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'
import { AT, dedupInMemory, down, event, journalInMemory, setUp, switchable, work } from './stage.ts'

const whole = { tenant: 'org', subscription: 'sub', from: AT, to: AT + 1 }

/** Lets what is said after the answer be said. */
const turn = async (): Promise<void> => {
  for (let at = 0; at < 5; at++) await Promise.resolve()
}

describe('dedup before the ledger', () => {
  it('answers repetitions and contradictions without it', async () => {
    const { store, power } = switchable()
    const { dedup } = dedupInMemory()
    const { meter } = setUp({ store, dedup, onDedupUnknown: 'reject' })
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
    await turn()
    power.on = false
    expect(await meter.record(event)).toEqual({ outcome: 'duplicate', firstReceivedAt: AT })
    expect(await meter.record({ ...event, quantity: 6 })).toEqual({ outcome: 'conflict', firstReceivedAt: AT })
  })

  it('lets a retry run after the ledger failed (useautumn/autumn#1138, #1838)', async () => {
    const { store, power } = switchable()
    const { dedup, known } = dedupInMemory()
    const { meter } = setUp({ store, dedup, onDedupUnknown: 'reject' })
    power.on = false
    await expect(meter.record(event)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(known.size).toBe(0)
    power.on = true
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
  })

  it('asks the ledger where a release or a settlement was lost', async () => {
    const { store, power } = switchable()
    const { dedup, power: dedupPower } = dedupInMemory()
    const { meter } = setUp({ store, dedup, onDedupUnknown: 'reject' })
    dedupPower.releases = false
    power.on = false
    await expect(meter.record(event)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    power.on = true
    dedupPower.settles = false
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
    await turn()
    expect(await meter.record(event)).toMatchObject({ outcome: 'duplicate' })
    expect(await meter.record({ ...event, quantity: 6 })).toMatchObject({ outcome: 'conflict' })
    expect(await meter.totals(whole)).toMatchObject([{ quantity: 5n, events: 1 }])
  })

  it('does not keep an identity for a payload that the ledger knows otherwise', async () => {
    const { store } = switchable()
    const { dedup, known } = dedupInMemory()
    await setUp({ store }).meter.record(event)
    const { meter } = setUp({ store, dedup, onDedupUnknown: 'reject' })
    expect(await meter.record({ ...event, quantity: 6 })).toMatchObject({ outcome: 'conflict' })
    expect(known.size).toBe(0)
    expect(await meter.record(event)).toMatchObject({ outcome: 'duplicate' })
  })

  it('is what createDedup gives, which answers from memory when its store is gone', async () => {
    const { store, power } = switchable()
    const shared = memoryDedupStore({ ttlMs: 60 * 86_400_000 })
    const dedup = createDedup({ store: shared, calendar: { every: { months: 1 } } })
    const { meter } = setUp({ store, dedup, onDedupUnknown: 'reject' })
    const other = setUp({ store, dedup: shared, onDedupUnknown: 'reject' }).meter
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
    await meter.close()
    power.on = false
    const again = setUp({ store, dedup, onDedupUnknown: 'reject' }).meter
    expect(await again.record(event)).toEqual({ outcome: 'duplicate', firstReceivedAt: AT })
    expect(await other.record(event)).toEqual({ outcome: 'duplicate', firstReceivedAt: AT })
    expect(await other.record({ ...event, quantity: 1 })).toEqual({ outcome: 'conflict', firstReceivedAt: AT })
    await expect(again.record({ ...event, transactionId: 'call-2' })).rejects.toMatchObject({ code: 'STORE_FAILED' })
    power.on = true
    expect(await other.record({ ...event, transactionId: 'call-2' })).toMatchObject({ outcome: 'recorded' })
  })

  it('counts once what comes twice in a batch', async () => {
    const { dedup } = dedupInMemory()
    const { meter } = setUp({ dedup, onDedupUnknown: 'reject' })
    const outcomes = await meter.recordBatch([event, event, { ...event, quantity: 9 }])
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['recorded', 'duplicate', 'conflict'])
  })
})

describe('dedup that does not answer', () => {
  it('leaves it to the ledger, and marks the event', async () => {
    const { store } = switchable()
    const { dedup, power } = dedupInMemory()
    const marks: unknown[] = []
    const marking: typeof store = {
      ...store,
      record(entries, options) {
        marks.push(...entries.map(({ unconfirmed }) => unconfirmed))
        return store.record(entries, options)
      }
    }
    const { meter } = setUp({ store: marking, dedup, onDedupUnknown: 'accept' })
    power.on = false
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
    expect(await meter.record(event)).toMatchObject({ outcome: 'duplicate' })
    power.on = true
    await meter.record({ ...event, transactionId: 'call-2' })
    expect(marks).toEqual([true, true, undefined])
  })

  it('refuses, storing nothing', async () => {
    const { dedup, power } = dedupInMemory()
    const { meter, types } = setUp({ dedup, onDedupUnknown: 'reject' })
    power.on = false
    expect(await meter.record(event)).toMatchObject({
      outcome: 'refused',
      reason: 'dedup-unknown',
      error: { code: 'STORE_FAILED', cause: down }
    })
    await expect(meter.accept(event)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(await meter.totals(whole)).toEqual([])
    expect(types()).toContain('usage.refused')
    power.on = true
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
  })

  it('holds in the journal until it answers', async () => {
    const { dedup, power } = dedupInMemory()
    const { journal, records } = journalInMemory()
    const { meter, platform } = setUp({ dedup, onDedupUnknown: 'journal', journal })
    power.on = false
    expect(await meter.record(event)).toEqual({ outcome: 'held', reason: 'dedup-unknown' })
    await meter.accept({ ...event, transactionId: 'call-2' })
    await expect(work(meter)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(records).toHaveLength(2)
    power.on = true
    await platform.clock.advance(1_000)
    expect(await work(meter)).toBe(2)
    expect(await meter.totals(whole)).toMatchObject([{ quantity: 10n, events: 2 }])
    expect(await meter.record(event)).toEqual({ outcome: 'duplicate', firstReceivedAt: AT })
    expect(await work(meter)).toBe(0)
  })
})

describe('postures', () => {
  it.each([
    ['dedup without a word for when it is unknown', { dedup: dedupInMemory().dedup }],
    ['a word without dedup', { onDedupUnknown: 'accept' as const }],
    ['events to be held without a journal', { onStoreFailure: 'journal' as const }],
    ['a journal that is none', { journal: {} as never }],
    ['a metric that counts no property', { metrics: { users: { rollup: 'unique' } as never } }],
    ['a metric without a name', { metrics: { '': { rollup: 'sum' as const } } }]
  ])('are refused with %s', (_what, options) => {
    expect(() => setUp(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
