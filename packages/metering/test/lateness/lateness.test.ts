import { judgeLateness, type Lateness, periodFinder } from '@enablement/metering'
import { describe, expect, it } from 'vitest'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const monthly = (timeZone: string) => periodFinder({ every: { months: 1 }, timeZone, anchor: '2023-01-01' })

describe('lateness', () => {
  // The end of March 2026 in Paris: two days before, clocks were set forward.
  const to = Date.parse('2026-03-31T22:00:00Z')
  const period = { from: Date.parse('2026-02-28T23:00:00Z'), to }

  it.each<[string, number, Lateness, number]>([
    ['a month before the period ends', -30 * DAY_MS, 'on-time', 0],
    ['a millisecond before it ends', -1, 'on-time', 0],
    ['as it ends', 0, 'grace', 0],
    ['a millisecond after', 1, 'grace', 1],
    ['a millisecond before 24 hours', DAY_MS - 1, 'grace', DAY_MS - 1],
    ['after 24 hours', DAY_MS, 'grace', DAY_MS],
    ['a millisecond after 24 hours', DAY_MS + 1, 'adjustment', DAY_MS + 1],
    ['a millisecond before 7 days', 7 * DAY_MS - 1, 'adjustment', 7 * DAY_MS - 1],
    ['after 7 days', 7 * DAY_MS, 'adjustment', 7 * DAY_MS],
    ['a millisecond after 7 days', 7 * DAY_MS + 1, 'manual-review', 7 * DAY_MS + 1],
    ['years after', 3_000 * DAY_MS, 'manual-review', 3_000 * DAY_MS]
  ])('counts from the period’s end in the customer’s zone: received %s', (_when, afterMs, lateness, lateMs) => {
    const finder = monthly('Europe/Paris')
    for (const at of [period.from, period.from + 1, to - 1]) {
      expect(judgeLateness({ at, receivedAt: to + afterMs, finder })).toEqual({ lateness, period, lateMs })
    }
  })

  it('is of the next period from its first millisecond on', () => {
    const judged = judgeLateness({ at: to, receivedAt: to + DAY_MS + 1, finder: monthly('Europe/Paris') })
    expect(judged).toMatchObject({ lateness: 'on-time', period: { from: to } })
  })

  it.each([
    ['the next day having 23 hours', 'Europe/Paris', '2026-03-28T23:00:00Z'],
    ['the next day having 25 hours', 'Europe/Paris', '2026-10-24T22:00:00Z'],
    ['the next day having 24 and a half', 'Australia/Lord_Howe', '2026-04-04T13:00:00Z'],
    ['the next date being skipped', 'Pacific/Apia', '2011-12-30T10:00:00Z']
  ])('gives 86,400,000 ms of grace, %s in %s', (_what, timeZone, end) => {
    const finder = periodFinder({ every: { days: 1 }, timeZone, anchor: '2011-01-01' })
    const ended = Date.parse(end)
    const at = ended - 1
    expect(judgeLateness({ at, receivedAt: ended + DAY_MS, finder })).toMatchObject({
      lateness: 'grace',
      period: { to: ended }
    })
    expect(judgeLateness({ at, receivedAt: ended + DAY_MS + 1, finder }).lateness).toBe('adjustment')
  })

  it('of one instant differs between customers in different zones', () => {
    const at = Date.parse('2026-03-31T23:00:00Z')
    const receivedAt = Date.parse('2026-05-01T12:00:00Z')
    expect(judgeLateness({ at, receivedAt, finder: monthly('UTC') }).lateness).toBe('manual-review')
    expect(judgeLateness({ at, receivedAt, finder: monthly('Europe/Paris') }).lateness).toBe('grace')
    expect(judgeLateness({ at, receivedAt, finder: monthly('America/New_York') }).lateness).toBe('manual-review')
  })

  it('keeps January’s event in January’s draft for 3 days, where that is the grace (C1)', () => {
    const limits = { graceMs: 3 * DAY_MS, adjustmentMs: 7 * DAY_MS }
    const receivedAt = Date.parse('2023-02-02T12:00:00Z')
    expect(judgeLateness({ at: 1_673_457_300_000, receivedAt, finder: monthly('UTC'), limits })).toMatchObject({
      lateness: 'grace',
      period: { from: Date.parse('2023-01-01'), to: Date.parse('2023-02-01') }
    })
  })

  it('puts an event of 2 February into February (C2)', () => {
    const receivedAt = 1_675_354_500_000
    expect(judgeLateness({ at: receivedAt, receivedAt, finder: monthly('UTC') })).toMatchObject({
      lateness: 'on-time',
      period: { from: Date.parse('2023-02-01'), to: Date.parse('2023-03-01') }
    })
  })

  it('is decided by the grace at the receipt: what 5 days kept open, 2 have closed on day 3 (C3)', () => {
    const received = { at: Date.parse('2023-01-11'), receivedAt: Date.parse('2023-02-04'), finder: monthly('UTC') }
    const graceOf = (days: number) => ({ graceMs: days * DAY_MS, adjustmentMs: 7 * DAY_MS })
    expect(judgeLateness({ ...received, limits: graceOf(5) }).lateness).toBe('grace')
    expect(judgeLateness({ ...received, limits: graceOf(2) }).lateness).toBe('adjustment')
  })
})
