import { CoreError, createCircuitBreaker, days } from '@enablement/core'
import { seededRandom, virtualClock } from '@enablement/core/testing'
import {
  createDedup,
  type DedupClaim,
  type DedupEvent,
  type DedupOptions,
  type DedupStore,
  longestPeriodMs,
  periodFinder
} from '@enablement/metering'
import { memoryDedupStore } from '@enablement/metering/memory'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const scale = inject('scale')
const PAYLOAD = 'a0'.repeat(32)
const OTHER_PAYLOAD = 'b1'.repeat(32)

const claim = (transactionId: string, changed: Partial<DedupClaim> = {}): DedupClaim => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId,
  payloadHash: PAYLOAD,
  receivedAt: 1_000,
  ...changed
})

/** Dedup on a store that is asked in the open, and fails when it is told to. */
function stage(options: Partial<DedupOptions> = {}) {
  const clock = virtualClock()
  const platform = { clock, random: seededRandom(1) }
  const inner = memoryDedupStore({ platform })
  const calls: string[] = []
  const events: DedupEvent[] = []
  const stage = { fails: undefined as Error | undefined }
  const through = (name: 'claim' | 'settle' | 'release') => {
    return async (claims: readonly DedupClaim[], call?: { readonly signal?: AbortSignal }) => {
      calls.push(`${name} ${claims.map(({ transactionId }) => transactionId).join(' ')}`)
      if (stage.fails !== undefined) throw stage.fails
      return (await inner[name](claims, call)) as never
    }
  }
  const store: DedupStore = {
    ttlMs: inner.ttlMs,
    claim: through('claim'),
    settle: through('settle'),
    release: through('release')
  }
  const dedup = createDedup({
    store,
    longestPeriodMs: days(31),
    observe: (event) => events.push(event),
    platform,
    ...options
  })
  return Object.assign(stage, { dedup, store, inner, calls, events, clock })
}

const down = () => new CoreError('STORE_UNAVAILABLE', 'down', { store: 'redis', operation: 'claim' })

describe('dedup', () => {
  it('takes what the store takes, and says so', async () => {
    const { dedup } = stage()
    expect(await dedup.claim([claim('a'), claim('b'), claim('a')])).toEqual([
      { outcome: 'new' },
      { outcome: 'new' },
      { outcome: 'pending', firstReceivedAt: 1_000 }
    ])
    expect(await dedup.claim([claim('a', { payloadHash: OTHER_PAYLOAD })])).toEqual([
      { outcome: 'conflict', firstReceivedAt: 1_000, settled: false }
    ])
    expect(await dedup.claim([])).toEqual([])
  })

  it('answers for what was counted here without asking the store, exactly', async () => {
    const { dedup, calls } = stage()
    await dedup.claim([claim('a')])
    await dedup.settle([claim('a')])
    calls.length = 0
    const answers = await dedup.claim([
      claim('a', { receivedAt: 5_000 }),
      claim('b'),
      claim('a', { payloadHash: OTHER_PAYLOAD })
    ])
    expect(answers).toEqual([
      { outcome: 'duplicate', firstReceivedAt: 1_000 },
      { outcome: 'new' },
      { outcome: 'conflict', firstReceivedAt: 1_000, settled: true }
    ])
    expect(calls).toEqual(['claim b'])
  })

  it('learns from the store what others counted', async () => {
    const { dedup, inner, calls } = stage()
    await inner.settle([claim('a')])
    expect(await dedup.claim([claim('a')])).toEqual([{ outcome: 'duplicate', firstReceivedAt: 1_000 }])
    expect(await dedup.claim([claim('a')])).toEqual([{ outcome: 'duplicate', firstReceivedAt: 1_000 }])
    expect(calls).toEqual(['claim a'])
  })

  it('takes a hit of the Bloom filter for a reason to look, never for a verdict', async () => {
    // Of one identity a generation, so that nearly everything is a hit.
    const { dedup, calls } = stage({ bloom: { capacity: 1 } })
    for (let at = 0; at < 200; at++) {
      expect(await dedup.claim([claim(`${at}`)])).toEqual([{ outcome: 'new' }])
    }
    await dedup.release([claim('7')])
    // Seen before, by the filter; free again, by the store.
    expect(await dedup.claim([claim('7')])).toEqual([{ outcome: 'new' }])
    expect(calls).toHaveLength(202)
  })

  it('takes a miss of the Bloom filter for nothing but a look that is spared: the store is asked', async () => {
    const { dedup, inner } = stage()
    await inner.settle([claim('a')])
    expect(await dedup.claim([claim('a')])).toEqual([{ outcome: 'duplicate', firstReceivedAt: 1_000 }])
    expect(dedup.stats()).toEqual({ claims: 1, bloomMisses: 1, memoryAnswers: 0, storeAnswers: 1, unknown: 0 })
  })

  it('keeps as many identities as it may, those seen last; the store knows the others', async () => {
    const { dedup, calls } = stage({ identitiesMax: 2 })
    for (const id of ['a', 'b']) {
      await dedup.claim([claim(id)])
      await dedup.settle([claim(id)])
    }
    await dedup.claim([claim('a')])
    await dedup.claim([claim('c')])
    await dedup.settle([claim('c')])
    calls.length = 0
    expect(await dedup.claim([claim('a'), claim('b'), claim('c')])).toMatchObject(
      Array.from({ length: 3 }, () => ({ outcome: 'duplicate', firstReceivedAt: 1_000 }))
    )
    expect(calls).toEqual(['claim b'])
  })

  it('runs what is retried after its claim was released (autumn#1138)', async () => {
    const { dedup } = stage()
    await dedup.claim([claim('a')])
    await dedup.release([claim('a')])
    expect(await dedup.claim([claim('a', { receivedAt: 2_000 })])).toEqual([{ outcome: 'new' }])
  })

  it('leaves to the ledger what is retried although its claim could not be released (autumn#1138)', async () => {
    const it = stage()
    await it.dedup.claim([claim('a')])
    it.fails = down()
    await it.dedup.release([claim('a')])
    it.fails = undefined
    expect(await it.dedup.claim([claim('a', { receivedAt: 2_000 })])).toEqual([
      { outcome: 'pending', firstReceivedAt: 1_000 }
    ])
  })
})

describe('dedup whose store fails', () => {
  it('says unknown of what it does not know itself, and goes on when the store is back', async () => {
    const it = stage()
    await it.dedup.claim([claim('a'), claim('b')])
    await it.dedup.settle([claim('a')])
    it.fails = down()
    const failure = expect.objectContaining({ code: 'STORE_FAILED', detail: expect.anything() })
    expect(await it.dedup.claim([claim('a'), claim('b'), claim('c')])).toEqual([
      { outcome: 'duplicate', firstReceivedAt: 1_000 },
      { outcome: 'unknown', error: failure, seenHere: true },
      { outcome: 'unknown', error: failure, seenHere: false }
    ])
    expect(it.events).toEqual([{ type: 'dedup.store-failed', error: failure }])
    expect(it.dedup.stats()).toMatchObject({ claims: 5, memoryAnswers: 1, storeAnswers: 2, unknown: 2 })
    it.fails = undefined
    expect(await it.dedup.claim([claim('b'), claim('c')])).toMatchObject([{ outcome: 'pending' }, { outcome: 'new' }])
  })

  it('remembers what it was told is counted, although it could not pass it on', async () => {
    const it = stage()
    await it.dedup.claim([claim('a')])
    it.fails = down()
    await it.dedup.settle([claim('a')])
    expect(it.events).toHaveLength(1)
    it.fails = undefined
    expect(await it.dedup.claim([claim('a')])).toEqual([{ outcome: 'duplicate', firstReceivedAt: 1_000 }])
  })

  it('is spared the store while a breaker is open', async () => {
    const breaker = createCircuitBreaker({ name: 'dedup', window: { kind: 'consecutive', failures: 2 } })
    const it = stage({ policy: breaker })
    it.fails = down()
    const unknown = (reason: string) => [{ outcome: 'unknown', error: { detail: { reason } } }]
    expect(await it.dedup.claim([claim('a')])).toMatchObject(unknown('STORE_UNAVAILABLE'))
    expect(await it.dedup.claim([claim('a')])).toMatchObject(unknown('STORE_UNAVAILABLE'))
    expect(await it.dedup.claim([claim('a')])).toMatchObject(unknown('CIRCUIT_OPEN'))
    expect(it.calls).toHaveLength(2)
  })

  it('throws what is no failure of a store, and the reason for which a caller gave up', async () => {
    const it = stage()
    it.fails = new TypeError('a bug')
    await expect(it.dedup.claim([claim('a')])).rejects.toThrow('a bug')
    const reason = new Error('enough')
    await expect(it.dedup.claim([claim('a')], { signal: AbortSignal.abort(reason) })).rejects.toThrow('enough')
    await expect(it.dedup.settle([claim('a')], { signal: AbortSignal.abort(reason) })).rejects.toThrow('enough')
    await expect(it.dedup.release([claim('a')], { signal: AbortSignal.abort(reason) })).rejects.toThrow('enough')
  })

  it('refuses claims that are none before it asks anybody', async () => {
    const { dedup, calls } = stage()
    for (const wrong of [{ tenant: '' }, { payloadHash: 'x' }, { receivedAt: Number.NaN }]) {
      await expect(dedup.claim([claim('a', wrong)])).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
      await expect(dedup.settle([claim('a', wrong)])).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
      await expect(dedup.release([claim('a', wrong)])).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    }
    expect(calls).toEqual([])
  })
})

describe('any history of claims', () => {
  const steps = fc.array(
    fc.record({
      action: fc.constantFrom('claim', 'settle', 'release'),
      id: fc.integer({ min: 0, max: 4 }),
      payload: fc.constantFrom(PAYLOAD, OTHER_PAYLOAD),
      fails: fc.boolean()
    }),
    { maxLength: 60 }
  )

  test.prop([steps], { numRuns: Math.ceil(100 * scale) })(
    'never has dedup say duplicate or the last conflict of what was not settled',
    async (history) => {
      const it = stage({ identitiesMax: 2, bloom: { capacity: 2 } })
      /** The ledger: what is settled, with its payload and first receipt. */
      const ledger = new Map<string, DedupClaim>()
      let receivedAt = 0
      for (const { action, id, payload, fails } of history) {
        receivedAt += 1
        it.fails = fails ? down() : undefined
        const one = claim(`${id}`, { payloadHash: payload, receivedAt })
        const first = ledger.get(one.transactionId)
        if (action === 'claim') {
          const [answer] = await it.dedup.claim([one])
          if (answer?.outcome === 'duplicate') {
            expect([first?.payloadHash, first?.receivedAt]).toEqual([payload, answer.firstReceivedAt])
          } else if (answer?.outcome === 'conflict' && answer.settled) {
            expect(first).toBeDefined()
            expect(first?.payloadHash).not.toBe(payload)
            expect(first?.receivedAt).toBe(answer.firstReceivedAt)
          }
        } else if (action === 'settle') {
          // As a meter does: the ledger's unique index has decided, and what it has is what is settled.
          if (first === undefined) ledger.set(one.transactionId, one)
          if (first === undefined || first.payloadHash === payload) await it.dedup.settle([first ?? one])
        } else await it.dedup.release([one])
      }
    }
  )
})

describe('the time for which a store remembers', () => {
  const DAY_MS = 86_400_000
  const storeOf = (ttlMs: number): DedupStore => ({ ...memoryDedupStore(), ttlMs })
  const neededMs = 31 * DAY_MS + 7 * DAY_MS + 300_000
  const refused = (path: string) =>
    expect.objectContaining({
      code: 'INVALID_OPTIONS',
      detail: expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path })]) })
    })

  it('is at least the longest period, the 7 days and the five minutes, to the millisecond', () => {
    expect(() => createDedup({ store: storeOf(neededMs - 1), longestPeriodMs: 31 * DAY_MS })).toThrow(
      refused('store.ttlMs')
    )
    expect(createDedup({ store: storeOf(neededMs), longestPeriodMs: 31 * DAY_MS })).toBeDefined()
  })

  it('follows how late usage may come', () => {
    const lateness = { graceMs: 0, adjustmentMs: 30 * DAY_MS }
    const options = { longestPeriodMs: 31 * DAY_MS, lateness }
    expect(() => createDedup({ store: storeOf(neededMs), ...options })).toThrow(refused('store.ttlMs'))
    expect(createDedup({ store: storeOf(neededMs + 23 * DAY_MS), ...options })).toBeDefined()
  })

  it('is found by the calendar: 45 days do for months, and not for years', () => {
    expect(createDedup({ store: memoryDedupStore(), calendar: { every: { months: 1 } } })).toBeDefined()
    expect(() => createDedup({ store: memoryDedupStore(), calendar: { every: { years: 1 } } })).toThrow(
      refused('store.ttlMs')
    )
    const store = memoryDedupStore({ ttlMs: 380 * DAY_MS })
    expect(createDedup({ store, calendar: { every: { years: 1 } } })).toBeDefined()
  })

  it.each([
    ['calendar', {}],
    ['calendar', { calendar: { every: { months: 1 } }, longestPeriodMs: 31 * DAY_MS }],
    ['calendar.every.months', { calendar: { every: { months: 0 } } }],
    ['longestPeriodMs', { longestPeriodMs: Number.NaN }],
    ['store', { store: {}, longestPeriodMs: 1 }],
    ['identitiesMax', { identitiesMax: 0, longestPeriodMs: 1 }],
    ['lateness.adjustmentMs', { lateness: { graceMs: 2, adjustmentMs: 1 }, longestPeriodMs: 1 }],
    ['ttl', { ttl: 1, longestPeriodMs: 1 }]
  ])('and other options are refused with the path %s', (path, wrong) => {
    expect(() => createDedup({ store: memoryDedupStore(), ...wrong } as DedupOptions)).toThrow(refused(path))
  })

  test.prop(
    [
      fc.oneof(
        fc.record({ days: fc.integer({ min: 1, max: 400 }) }),
        fc.record({ weeks: fc.integer({ min: 1, max: 60 }) }),
        fc.record({ months: fc.integer({ min: 1, max: 40 }) }),
        fc.record({ years: fc.integer({ min: 1, max: 5 }) })
      ),
      fc.constantFrom('UTC', 'Europe/Paris', 'Australia/Lord_Howe', 'Pacific/Apia'),
      fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2100, 0) }),
      fc.integer({ min: 1, max: 31 })
    ],
    { numRuns: Math.ceil(150 * scale) }
  )('is never less than a period of the calendar lasts, and hardly more', (every, timeZone, at, day) => {
    const anchor = `2024-01-${String(day).padStart(2, '0')}`
    const { from, to } = periodFinder({ every, timeZone, anchor }).periodAt(at)
    expect(to - from).toBeLessThanOrEqual(longestPeriodMs({ every }))
    expect(longestPeriodMs({ every }) - (to - from)).toBeLessThanOrEqual(7 * DAY_MS)
  })
})
