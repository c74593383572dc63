import { type Calendar, creditNote, type Plan, type PlanChangeRequest, planChange } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MONTH: Calendar = { every: { months: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }
const plan = (minorUnits: number, more: Partial<Plan> = {}): Plan => ({
  name: 'plan',
  currency: 'EUR',
  minorUnits,
  calendar: MONTH,
  ...more
})
const JANUARY = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 1, 1) }
const base: PlanChangeRequest = {
  from: plan(3_100),
  to: plan(6_200),
  at: JANUARY.from + 10 * DAY,
  strategy: 'prorate',
  profile: 'second',
  rounding: 'half-even'
}

describe('a change of plan', () => {
  it('refunds the unused old and charges the remaining new, or nothing now, or the new in full', () => {
    expect(planChange(base)).toMatchObject({ refund: 2_100, charge: 4_200, effectiveAt: base.at, period: JANUARY })
    expect(planChange({ ...base, strategy: 'next-period' })).toMatchObject({
      refund: 0,
      charge: 6_200,
      effectiveAt: JANUARY.to,
      period: { from: JANUARY.to, to: Date.UTC(2026, 2, 1) }
    })
    const switched = planChange({ ...base, strategy: 'immediate-switch' })
    expect(switched).toMatchObject({ refund: 2_100, charge: 6_200, period: { from: base.at, to: base.at + 31 * DAY } })
    expect(switched.plan.calendar.anchor).toBe('2026-01-11T00:00:00')
    expect(switched.lines.map(({ kind, minorUnits, exact }) => [kind, minorUnits, exact])).toEqual([
      ['proration', -2_100n, '-21'],
      ['plan', 6_200n, '62']
    ])
  })

  it('to a plan of another interval pays for what is left of its own period', () => {
    const year: Calendar = { every: { years: 1 }, timeZone: 'UTC', anchor: '2026-01-01' }
    const change = planChange({ ...base, to: plan(36_500, { calendar: year }) })
    expect(change).toMatchObject({ charge: 35_500, period: { from: JANUARY.from, to: Date.UTC(2027, 0, 1) } })
  })

  it.each([
    // Each at noon: by seconds the half day counts, by days the day belongs to the new plan.
    ['second', 15.5, 1_550],
    ['millisecond', 15.5, 1_550],
    ['day-inclusive', 15.5, 1_600],
    ['thirtieth', 15.5, 1_550],
    ['thirtieth', 30.5, 103],
    ['day-inclusive', 30.5, 100]
  ] as const)('by %s after %d days of January leaves %d', (profile, daysUsed, refund) => {
    expect(planChange({ ...base, profile, at: JANUARY.from + daysUsed * DAY }).refund).toBe(refund)
  })

  it('by the second ignores the part of a second, by the millisecond does not', () => {
    const at = JANUARY.to - 1
    const dear = plan(9e15)
    expect(planChange({ ...base, from: dear, profile: 'second', at, rounding: 'down' }).refund).toBe(3_360_215_053)
    expect(planChange({ ...base, from: dear, profile: 'millisecond', at, rounding: 'down' }).refund).toBe(3_360_215)
  })

  it('by thirtieths charges the 28th of February with what the month lacks', () => {
    const at = Date.UTC(2026, 1, 28)
    expect(planChange({ ...base, from: plan(3_000), profile: 'thirtieth', at }).refund).toBe(300)
    expect(planChange({ ...base, from: plan(3_000), profile: 'thirtieth', at: Date.UTC(2026, 0, 31) }).refund).toBe(100)
  })

  it.each([
    [2023, 366],
    [2024, 365]
  ])('by days divides a year from March %d by %d', (year, days) => {
    const calendar: Calendar = { every: { years: 1 }, timeZone: 'Europe/Paris', anchor: `${year}-03-01` }
    const from = plan(days * 100, { calendar })
    const at = Date.UTC(year, 2, 2, 12)
    expect(planChange({ ...base, from, profile: 'day-inclusive', at }).refund).toBe((days - 1) * 100)
  })

  it('on its first day by days refunds all of the old, and on its last one day', () => {
    const at = (day: number) =>
      planChange({ ...base, profile: 'day-inclusive', at: JANUARY.from + day * DAY + HOUR }).refund
    expect([at(0), at(30)]).toEqual([3_100, 100])
  })

  it('counts the days of the customer, also those of 23 and 25 hours', () => {
    const calendar: Calendar = { every: { months: 1 }, timeZone: 'Europe/Paris', anchor: '2026-03-01' }
    const from = plan(3_100, { calendar })
    const days = (at: number): number => planChange({ ...base, from, profile: 'day-inclusive', at }).refund / 100
    // 28 March 23:59:59.999 in Paris, and a millisecond later; clocks are set forward on the 29th.
    expect([days(Date.UTC(2026, 2, 28, 23) - 1), days(Date.UTC(2026, 2, 28, 23))]).toEqual([4, 3])
    expect([days(Date.UTC(2026, 2, 29, 22) - 1), days(Date.UTC(2026, 2, 29, 22))]).toEqual([3, 2])
  })

  it.each([
    ['JPY', 100, 65],
    ['BHD', 1_001, 646]
  ])('in %s is exact to its own minor unit', (currency, price, refund) => {
    const change = planChange({
      ...base,
      from: plan(price, { currency }),
      to: plan(0, { currency }),
      at: JANUARY.from + 11 * DAY
    })
    expect(change.refund).toBe(refund)
    expect(change.lines).toHaveLength(1)
  })

  it('refunds no more than was charged', () => {
    expect(planChange({ ...base, charged: 2_000 }).refund).toBe(2_000)
    expect(planChange({ ...base, charged: 0 }).refund).toBe(0)
  })

  it('refunds no more than the credits that are left are worth (polarsource/polar#5826)', () => {
    const from = plan(3_100, { credits: 1_000 })
    const refund = (unusedCredits: number) => planChange({ ...base, from, unusedCredits }).refund
    expect([refund(0), refund(1), refund(500), refund(1_000), refund(5_000)]).toEqual([0, 3, 1_550, 2_100, 2_100])
  })

  const wrong: readonly (readonly [string, object, string])[] = [
    ['a price of a fraction', { from: plan(1.5) }, 'from.minorUnits'],
    ['a price of NaN', { to: plan(Number.NaN) }, 'to.minorUnits'],
    ['a negative price', { to: plan(-1) }, 'to.minorUnits'],
    ['a price above 9e15', { to: plan(9e15 + 2) }, 'to.minorUnits'],
    ['a period in reverse', { period: { from: JANUARY.to, to: JANUARY.from } }, 'period.to'],
    ['a time outside the period', { period: JANUARY, at: JANUARY.to }, 'at'],
    ['a time in seconds', { at: JANUARY.from / 1_000 }, 'at'],
    ['another currency', { to: plan(1, { currency: 'USD' }) }, 'to.currency'],
    ['a hostile name', { to: plan(1, { name: 'a\u0000b' }) }, 'to.name'],
    ['an unknown zone', { to: plan(1, { calendar: { ...MONTH, timeZone: 'Mars/Phobos' } }) }, 'to.calendar.timeZone'],
    ['an unknown profile', { profile: 'hour' }, 'profile'],
    ['an unknown strategy', { strategy: 'later' }, 'strategy'],
    ['no rounding', { rounding: undefined }, 'rounding']
  ]
  it.each(wrong)('with %s is refused', (_what, fields, path) => {
    expect(() => planChange({ ...base, ...fields })).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path })]) })
      })
    )
  })

  it('in an unknown currency is refused', () => {
    const [from, to] = [plan(1, { currency: 'XXX' }), plan(2, { currency: 'XXX' })]
    expect(() => planChange({ ...base, from, to })).toThrow(expect.objectContaining({ code: 'UNKNOWN_CURRENCY' }))
  })

  const price = fc.oneof(fc.nat(100_000), fc.integer({ min: 0, max: 9e15 }))
  test.prop(
    [
      fc.array(fc.tuple(price, fc.integer({ min: 0, max: 20 * DAY })), { minLength: 1, maxLength: 6 }),
      fc.constantFrom('second', 'millisecond', 'day-inclusive', 'thirtieth'),
      fc.constantFrom('up', 'down', 'half-up', 'half-even', 'floor', 'ceiling'),
      fc.constantFrom('prorate', 'immediate-switch')
    ],
    { numRuns: 200 * inject('scale') }
  )('never refunds what was not charged, however often the plan changes', (changes, profile, rounding, strategy) => {
    let [current, charged, refunded, spent] = [plan(5_000), 5_000, 0, 5_000]
    let at = JANUARY.from
    for (const [minorUnits, after] of changes) {
      at += after
      const change = planChange({
        from: current,
        to: plan(minorUnits, { calendar: current.calendar }),
        at,
        charged,
        profile,
        rounding,
        strategy
      })
      expect(change.refund).toBeLessThanOrEqual(charged)
      expect(change.charge).toBeLessThanOrEqual(minorUnits)
      expect(change.lines.reduce((sum, line) => sum + line.minorUnits, 0n)).toBe(BigInt(change.net))
      refunded += change.refund
      expect(refunded).toBeLessThanOrEqual(spent)
      spent += change.charge
      ;[current, charged] = [change.plan, change.charge]
    }
  })
})

describe('credit notes', () => {
  const amount = fc.bigInt({ min: 0n, max: 10n ** 6n })
  test.prop(
    [
      amount,
      fc.constantFrom('0.2', '0.25', '0.077', '0', '1'),
      fc.array(amount, { maxLength: 8 }),
      fc.constantFrom('up', 'half-up', 'half-even', 'down')
    ],
    {
      numRuns: 300 * inject('scale')
    }
  )(
    'never come to more than their invoice, net and tax, and to all of it at the end',
    (net, taxRate, wishes, rounding) => {
      const { tax } = creditNote({ invoice: { net: net + 1n, tax: 10n ** 7n }, net, taxRate, rounding })
      const invoice = { net, tax }
      let credited = { net: 0n, tax: 0n }
      for (const wish of [...wishes, net]) {
        const note = creditNote({ invoice, credited, net: wish, taxRate, rounding })
        expect(note.refund + note.credit).toBe(note.total)
        credited = { net: credited.net + note.net, tax: credited.tax + note.tax }
        expect(credited.net <= invoice.net && credited.tax <= invoice.tax).toBe(true)
      }
      expect(credited).toEqual(invoice)
    }
  )

  it.each([
    ['more credited than invoiced', { credited: { net: 11n, tax: 0n } }],
    ['more paid than invoiced', { paid: 13n }],
    ['a negative amount', { net: -1n }],
    ['a rate above 1', { taxRate: '1.1' }],
    ['a rate as a float', { taxRate: 0.2 }]
  ])('with %s are refused', (_what, fields) => {
    const request = { invoice: { net: 10n, tax: 2n }, net: 1n, taxRate: '0.2', rounding: 'half-up' }
    expect(() => creditNote({ ...request, ...fields } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS' })
    )
  })
})
