import { CoreError } from '@enablement/core'
import { openJournal } from '@enablement/core/journal'
import { simulatedDisk } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { AT, dedupInMemory, event, journalInMemory, setUp, switchable, work } from './stage.ts'

const whole = { tenant: 'org', subscription: 'sub', from: AT, to: AT + 1 }
const numbered = (from: number, count: number) =>
  Array.from({ length: count }, (_, at) => ({ ...event, transactionId: `t${from + at}`, quantity: from + at }))

describe('a journal behind the ledger', () => {
  it('holds what the store does not take, and settles it in order once it does', async () => {
    const { store, power } = switchable()
    const { journal, records } = journalInMemory()
    const taken: string[] = []
    const watched: typeof store = {
      ...store,
      record: (entries, options) => {
        if (power.on) taken.push(...entries.map(({ transactionId }) => transactionId))
        return store.record(entries, options)
      }
    }
    const { meter, types } = setUp({ store: watched, journal, onStoreFailure: 'journal' })
    power.on = false
    const outcomes = await meter.recordBatch(numbered(0, 300))
    expect(outcomes).toEqual(Array(300).fill({ outcome: 'held', reason: 'store-unavailable' }))
    await meter.accept({ ...event, transactionId: 'last' })
    await expect(work(meter)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(records).toHaveLength(301)
    power.on = true
    expect(await work(meter)).toBe(301)
    expect(taken).toEqual([...numbered(0, 300).map(({ transactionId }) => transactionId), 'last'])
    expect(await meter.totals(whole)).toMatchObject([{ quantity: BigInt((299 * 300) / 2 + 5), events: 301 }])
    expect(types().filter((type) => type === 'usage.held')).toHaveLength(301)
    expect(types().filter((type) => type === 'usage.recorded')).toHaveLength(301)
    // Nothing but the mark of how far it got.
    expect(records).toHaveLength(1)
    expect(await work(meter)).toBe(0)
  })

  it('refuses an event, typed, when it is full, and never drops one', async () => {
    const { store, power } = switchable()
    const { journal } = journalInMemory(2)
    const { meter, types } = setUp({ store, journal, onStoreFailure: 'journal' })
    power.on = false
    const outcomes = await meter.recordBatch(numbered(1, 3))
    expect(outcomes).toMatchObject([
      { outcome: 'held' },
      { outcome: 'held' },
      { outcome: 'unknown', error: { code: 'JOURNAL_FAILED', detail: { reason: 'OVERLOADED' } } }
    ])
    await expect(meter.record(event)).rejects.toMatchObject({ code: 'JOURNAL_FAILED' })
    expect(types()).toContain('usage.journal-failed')
    power.on = true
    // There is no room for the mark, and yet room is made.
    expect(await work(meter)).toBe(2)
    expect(await meter.totals(whole)).toMatchObject([{ quantity: 3n, events: 2 }])
    power.on = false
    expect(await meter.record(event)).toMatchObject({ outcome: 'held' })
  })

  it('is not for what would fail again: that the caller hears', async () => {
    const { store, power } = switchable()
    const { journal, records } = journalInMemory()
    const { meter } = setUp({ store, journal, onStoreFailure: 'journal' })
    power.on = false
    power.error = new CoreError('STATEMENT_FAILED', 'no such table', { store: 'sqlite', statement: '' })
    await expect(meter.record(event)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    power.error = new TypeError('a bug')
    await expect(meter.record(event)).rejects.toThrow(TypeError)
    expect(records).toEqual([])
  })

  it('says of what waited when it was received, and finds its bill by the present', async () => {
    const { store, power } = switchable()
    const { journal } = journalInMemory()
    const calendarOf = () => ({ every: { days: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }) as const
    const { meter, platform } = setUp({ store, journal, onStoreFailure: 'journal', calendarOf })
    power.on = false
    await meter.record(event)
    await platform.clock.advance(3 * 86_400_000)
    power.on = true
    await work(meter)
    // It came in time, but the bill of its day is closed: it would be on none.
    expect(await meter.totals({ ...whole, late: 'excluded' })).toEqual([])
    const now = platform.clock.now()
    const received = { tenant: 'org', subscription: 'sub', receivedFrom: now, receivedTo: now + 1 }
    expect(await meter.adjustments(received)).toMatchObject([{ quantity: 5n }])
    expect(await meter.record(event)).toEqual({ outcome: 'duplicate', firstReceivedAt: AT })
  })

  it('takes events at once while the store is known to be down, and asks it again after a break', async () => {
    const { store, power } = switchable()
    const { journal } = journalInMemory()
    const { meter, platform, types } = setUp({ store, journal, onStoreFailure: 'journal' })
    power.on = false
    for (const one of numbered(1, 9)) expect(await meter.record(one)).toMatchObject({ outcome: 'held' })
    expect(power.calls).toBe(5)
    expect(types()).toContain('breaker.opened')
    power.on = true
    await expect(work(meter)).rejects.toMatchObject({ code: 'STORE_FAILED', detail: { reason: 'CIRCUIT_OPEN' } })
    await platform.clock.advance(60_000)
    expect(await work(meter)).toBe(9)
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded' })
    expect(await meter.totals(whole)).toMatchObject([{ events: 10 }])
  })

  it('is no reason to keep callers from a store that throws: each of them hears', async () => {
    const { store, power } = switchable()
    const { meter } = setUp({ store })
    power.on = false
    for (const one of numbered(1, 9)) await expect(meter.record(one)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(power.calls).toBe(9)
  })

  it('lets an event that cannot be settled block nothing that waits behind it', async () => {
    const { store, power } = switchable()
    const { journal, records } = journalInMemory()
    let timeZone = 'UTC'
    const calendarOf = (_: string, subscription: string) => {
      return { every: { days: 1 }, timeZone: subscription === 'bad' ? timeZone : 'UTC', anchor: '2026-01-01' } as const
    }
    const { meter } = setUp({ store, journal, onStoreFailure: 'journal', calendarOf })
    power.on = false
    await meter.recordBatch([
      { ...event, transactionId: 'before' },
      { ...event, transactionId: 'bad', subscription: 'bad' },
      ...numbered(0, 300)
    ])
    power.on = true
    timeZone = 'Nowhere/Land'
    await expect(work(meter)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(await meter.totals(whole)).toMatchObject([{ events: 301 }])
    // It waits at the end, alone, and is not written again and again.
    await expect(work(meter)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(work(meter)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(records.length).toBeLessThanOrEqual(3)
    timeZone = 'UTC'
    expect(await work(meter)).toBe(1)
    expect(await meter.totals({ ...whole, subscription: 'bad' })).toMatchObject([{ events: 1 }])
  })

  it('syncs once for many events that dedup cannot judge', async () => {
    const { journal } = journalInMemory()
    const { dedup, power } = dedupInMemory()
    let [waiting, most] = [0, 0]
    const slow: typeof journal = {
      ...journal,
      async append(payload, options) {
        waiting += 1
        most = Math.max(most, waiting)
        await Promise.resolve()
        waiting -= 1
        return journal.append(payload, options)
      }
    }
    const { meter } = setUp({ journal: slow, dedup, onDedupUnknown: 'journal' })
    power.on = false
    const outcomes = await meter.recordBatch(numbered(0, 300))
    expect(outcomes).toEqual(Array(300).fill({ outcome: 'held', reason: 'dedup-unknown' }))
    expect(most).toBe(256)
    power.on = true
    expect(await work(meter)).toBe(300)
  })

  it('is refused when it holds the records of somebody else', async () => {
    const { store } = switchable()
    const { journal, records } = journalInMemory()
    await journal.append(new TextEncoder().encode('{"usage":{}}'), { type: 1 })
    const { meter } = setUp({ store, journal, onStoreFailure: 'journal' })
    await expect(work(meter)).rejects.toMatchObject({ code: 'JOURNAL_FAILED', detail: { reason: 'FOREIGN_RECORD' } })
    expect(records).toHaveLength(1)
  })

  it('is settled once, however many run its duty', async () => {
    const { store, power } = switchable()
    const { journal } = journalInMemory()
    const { meter, types } = setUp({ store, journal, onStoreFailure: 'journal' })
    power.on = false
    await meter.recordBatch(numbered(0, 5))
    power.on = true
    await Promise.all([work(meter), work(meter), work(meter)])
    expect(types().filter((type) => type === 'usage.recorded')).toHaveLength(5)
    expect(types()).not.toContain('usage.duplicated')
  })
})

describe('a journal on a disk', () => {
  it('is settled exactly once after a power cut at any moment', async () => {
    for (let cut = 0; cut < 12; cut++) {
      const disk = simulatedDisk()
      const { store, power } = switchable()
      const open = () => openJournal({ folder: 'journal', disk, segmentMaxBytes: 65_536, recordMaxBytes: 16_384 })
      const first = await open()
      const before = setUp({ store, journal: first, onStoreFailure: 'journal' })
      power.on = false
      await before.meter.recordBatch(numbered(1, 300))
      // The store comes back for some of the calls, and the power goes after them.
      power.on = true
      let calls = 0
      const dying: typeof store = {
        ...store,
        record: async (entries, options) => {
          calls += 1
          if (calls > cut % 3) throw new Error('the power went')
          const verdicts = await store.record(entries, options)
          if (cut >= 6 && calls === cut % 3) throw new Error('the power went after the commit')
          return verdicts
        }
      }
      await work(setUp({ store: dying, journal: first, onStoreFailure: 'journal' }).meter).catch(() => 0)
      disk.powerCut()
      const after = setUp({ store, journal: await open(), onStoreFailure: 'journal' })
      await work(after.meter)
      expect(await after.meter.totals(whole)).toMatchObject([{ quantity: BigInt((300 * 301) / 2), events: 300 }])
      await work(after.meter)
      const { types } = setUp({ store })
      expect(types()).toEqual([])
    }
  })
})

describe('a meter that is closed', () => {
  it('waits for what is under way and refuses what comes', async () => {
    const { store } = switchable()
    const { meter } = setUp({ store })
    const recording = meter.record(event)
    await meter.close()
    expect(await recording).toMatchObject({ outcome: 'recorded' })
    await expect(meter.record(event)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(meter.recordBatch([event])).rejects.toMatchObject({ code: 'CLOSED' })
    await meter.close()
  })
})
