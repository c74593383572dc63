import { describe, expect, it } from 'vitest'
import { AT, event, identity, setUp } from './stage.ts'

const whole = { tenant: 'org', subscription: 'sub', from: AT - 10_000_000, to: AT + 10_000_000 }
const by = 'operator:bo'

describe('a clock that is ahead', () => {
  it.each([
    [59_999, 'recorded', AT + 59_999],
    [60_000, 'recorded', AT + 60_000],
    [60_001, 'recorded', AT],
    [300_000, 'recorded', AT],
    [300_001, 'quarantined', undefined]
  ])('by %d ms has its event %s, under its own time or the present', async (aheadMs, outcome, at) => {
    const { meter } = setUp()
    const recorded = await meter.record({ ...event, at: AT + aheadMs })
    expect(recorded).toMatchObject({ outcome, driftMs: -aheadMs, ...(at === undefined ? {} : { at }) })
    expect(await meter.totals(whole)).toHaveLength(at === undefined ? 0 : 1)
    // The payload is what was sent: under whatever time it is counted, a repetition is one.
    expect(await meter.record({ ...event, at: AT + aheadMs })).toMatchObject({ outcome: 'duplicate' })
    expect(await meter.record({ ...event, at: AT + aheadMs - 1 })).toMatchObject({ outcome: 'conflict' })
  })

  it('is judged by the consensus where there is one', async () => {
    const { meter } = setUp({ consensus: { now: () => AT + 500_000 } })
    expect(await meter.record({ ...event, at: AT + 400_000 })).toMatchObject({ outcome: 'recorded', driftMs: 100_000 })
    expect(await meter.record({ ...event, transactionId: '2', at: AT + 600_000 })).toMatchObject({
      outcome: 'recorded',
      at: AT + 500_000,
      driftMs: -100_000
    })
  })

  it('is watched for each source, and told of once', async () => {
    const { meter, platform, types } = setUp()
    for (let at = 0; at < 40; at++) {
      const now = platform.clock.now()
      await meter.record({ ...event, transactionId: `a${at}`, source: 'fast', at: now + 120_000 })
      await meter.record({ ...event, transactionId: `b${at}`, source: 'right', at: now })
      await meter.record({ ...event, transactionId: `c${at}`, at: now + 120_000 })
      await platform.clock.advance(30_000)
    }
    expect(types().filter((type) => type === 'clock.drifted')).toHaveLength(1)
  })
})

describe('quarantine', () => {
  const ahead = { ...event, at: AT + 400_000, source: 'host-1', properties: { model: 'small' } }

  it('keeps an event, lists it, and counts it once its time has come', async () => {
    const { meter, platform, events } = setUp()
    await meter.record(ahead)
    expect(await meter.quarantine.list({ tenant: 'org' })).toEqual({
      events: [{ ...ahead, reason: 'quarantine', receivedAt: AT }]
    })
    expect(await meter.quarantine.list({ tenant: 'other' })).toEqual({ events: [] })
    expect(await meter.quarantine.release({ ...identity, by })).toEqual({ outcome: 'still-ahead', driftMs: -400_000 })
    expect(await meter.quarantine.list({ tenant: 'org' })).toMatchObject({ events: [{}] })
    await platform.clock.advance(400_000)
    const released = await Promise.all(Array.from({ length: 5 }, () => meter.quarantine.release({ ...identity, by })))
    expect(released.filter(({ outcome }) => outcome === 'settled')).toEqual([
      { outcome: 'settled', as: 'counted', at: ahead.at, lateness: 'on-time' }
    ])
    expect(released.filter(({ outcome }) => outcome === 'settled-before')).toHaveLength(4)
    expect(await meter.totals(whole)).toMatchObject([{ quantity: 5n, events: 1 }])
    expect(await meter.record(ahead)).toEqual({ outcome: 'duplicate', firstReceivedAt: AT })
    expect(events.filter(({ type }) => type === 'usage.settled' || type === 'usage.recorded')).toHaveLength(2)
  })

  it('counts under the present what is nearly there, and under a time that somebody gives', async () => {
    const { meter, platform } = setUp()
    await meter.record(ahead)
    await meter.record({ ...ahead, transactionId: 'call-2' })
    await platform.clock.advance(200_000)
    expect(await meter.quarantine.release({ ...identity, by })).toMatchObject({ at: AT + 200_000 })
    const second = { ...identity, transactionId: 'call-2', by }
    expect(await meter.quarantine.release({ ...second, at: AT - 5 })).toMatchObject({ at: AT - 5 })
  })

  it('discards for good, and keeps the identity', async () => {
    const { meter } = setUp()
    await meter.record(ahead)
    expect(await meter.reviews.resolve({ ...identity, as: 'discard', by })).toEqual({ outcome: 'settled-before' })
    expect(await meter.quarantine.discard({ ...identity, by })).toEqual({ outcome: 'settled', as: 'discarded' })
    expect(await meter.quarantine.release({ ...identity, by })).toEqual({ outcome: 'settled-before' })
    expect(await meter.record(ahead)).toMatchObject({ outcome: 'duplicate' })
    expect(await meter.totals(whole)).toEqual([])
  })

  it('sends to review what is too late for any bill when it is released', async () => {
    const calendarOf = () => ({ every: { days: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }) as const
    const { meter, platform } = setUp({ calendarOf })
    await meter.record(ahead)
    await platform.clock.advance(9 * 86_400_000)
    expect(await meter.quarantine.release({ ...identity, by })).toEqual({ outcome: 'settled', as: 'review' })
    expect(await meter.quarantine.list({ tenant: 'org' })).toEqual({ events: [] })
    expect(await meter.reviews.list({ tenant: 'org' })).toMatchObject({ events: [{ transactionId: 'call-1' }] })
    expect(await meter.reviews.resolve({ ...identity, as: 'adjustment', by })).toMatchObject({ at: ahead.at })
    expect(await meter.totals({ ...whole, late: 'excluded' })).toEqual([])
    expect(await meter.totals(whole)).toMatchObject([{ quantity: 5n }])
  })
})
