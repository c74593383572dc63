import { describe, expect, it } from 'vitest'
import { AT, event, identity, setUp } from './stage.ts'

/** The month of January in Paris ends at 23:00 UTC. */
const ENDS_AT = Date.UTC(2026, 0, 31, 23)
const DAY_MS = 86_400_000
const period = { from: Date.UTC(2025, 11, 31, 23), to: ENDS_AT }
const calendarOf = () => ({ every: { months: 1 }, timeZone: 'Europe/Paris', anchor: '2026-01-01' }) as const

describe('late usage', () => {
  it.each([
    [-1, 'recorded', undefined],
    [0, 'late', 'original-period'],
    [DAY_MS, 'late', 'original-period'],
    [DAY_MS + 1, 'late', 'adjustment'],
    [7 * DAY_MS, 'late', 'adjustment'],
    [7 * DAY_MS + 1, 'late', 'manual-review']
  ])(
    'received %d ms after its period, which ends in the customer’s zone, is %s %s',
    async (lateMs, outcome, resolution) => {
      const { meter } = setUp({ calendarOf }, ENDS_AT + lateMs)
      const recorded = await meter.record(event)
      expect(recorded).toMatchObject({ outcome })
      if (resolution !== undefined) expect(recorded).toEqual({ outcome, resolution, lateMs, period })
      const range = { tenant: 'org', subscription: 'sub', ...period }
      const counted = resolution !== 'manual-review'
      const onBill = counted && resolution !== 'adjustment'
      expect(await meter.totals(range)).toHaveLength(counted ? 1 : 0)
      expect(await meter.totals({ ...range, late: 'excluded' })).toHaveLength(onBill ? 1 : 0)
      const received = { tenant: 'org', subscription: 'sub', receivedFrom: ENDS_AT, receivedTo: ENDS_AT + 30 * DAY_MS }
      expect(await meter.adjustments(received)).toEqual(
        resolution === 'adjustment'
          ? [{ periodAt: period.from, metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }]
          : []
      )
    }
  )

  it('is in no grace once the invoice of its period is final, or it would be on no bill', () => {
    const limits = (graceMs: number) => ({ latenessLimits: { graceMs, adjustmentMs: 7 * DAY_MS } })
    expect(() => setUp(limits(DAY_MS))).not.toThrow()
    expect(() => setUp(limits(DAY_MS + 1))).toThrow(/latenessLimits\.graceMs/)
  })

  it('is never told where a subscription has no calendar', async () => {
    const { meter } = setUp({ calendarOf: () => undefined }, ENDS_AT + 300 * DAY_MS)
    expect(await meter.record(event)).toMatchObject({ outcome: 'recorded', at: AT })
  })

  it('waits for a review, which is resolved once, and is then on a bill', async () => {
    const { meter, platform, types } = setUp({ calendarOf }, ENDS_AT + 8 * DAY_MS)
    await meter.record(event)
    await meter.record({ ...event, transactionId: 'call-2', quantity: 7 })
    await meter.record({ ...event, transactionId: 'call-3', quantity: 9 })
    expect(await meter.record(event)).toMatchObject({ outcome: 'duplicate' })
    const page = await meter.reviews.list({ tenant: 'org', limit: 2 })
    expect(page.events).toMatchObject([
      { ...identity, reason: 'review', quantity: 5, at: AT, period },
      { transactionId: 'call-2' }
    ])
    const rest = await meter.reviews.list({ tenant: 'org', limit: 2, after: page.next as string })
    expect(rest).toMatchObject({ events: [{ transactionId: 'call-3' }] })
    expect(rest.next).toBeUndefined()

    await platform.clock.advance(DAY_MS)
    const by = 'operator:bo'
    const now = platform.clock.now()
    expect(await meter.reviews.resolve({ ...identity, as: 'adjustment', by })).toEqual({
      outcome: 'settled',
      as: 'counted',
      at: AT,
      lateness: 'adjustment'
    })
    expect(await meter.reviews.resolve({ ...identity, as: 'discard', by })).toEqual({ outcome: 'settled-before' })
    const second = { ...identity, transactionId: 'call-2' }
    expect(await meter.reviews.resolve({ ...second, as: 'original-period', by })).toMatchObject({ lateness: 'grace' })
    const third = { ...identity, transactionId: 'call-3' }
    expect(await meter.reviews.resolve({ ...third, as: 'discard', by })).toEqual({
      outcome: 'settled',
      as: 'discarded'
    })
    expect(await meter.reviews.resolve({ ...identity, transactionId: 'x', as: 'discard', by })).toEqual({
      outcome: 'unknown'
    })
    expect(await meter.reviews.list({ tenant: 'org' })).toEqual({ events: [] })

    const range = { tenant: 'org', subscription: 'sub', ...period }
    expect(await meter.totals(range)).toMatchObject([{ quantity: 12n, events: 2 }])
    expect(await meter.totals({ ...range, late: 'excluded' })).toMatchObject([{ quantity: 7n, events: 1 }])
    // The receipt was a day ago: what bills it is the range of today.
    const received = { tenant: 'org', subscription: 'sub', receivedFrom: now, receivedTo: now + 1 }
    expect(await meter.adjustments(received)).toMatchObject([{ periodAt: period.from, quantity: 5n, events: 1 }])
    expect(types().filter((type) => type === 'usage.settled')).toHaveLength(3)
  })

  it('is refused a cursor that is none, and a reviewer without a name', async () => {
    const { meter } = setUp()
    for (const after of ['', 'x', '[1]', '[-1,"a","b"]', '{}']) {
      await expect(meter.reviews.list({ tenant: 'org', after })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    }
    await expect(meter.reviews.resolve({ ...identity, as: 'discard', by: '' })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
    await expect(meter.quarantine.release({ ...identity, by: 'x'.repeat(256) })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
  })
})
