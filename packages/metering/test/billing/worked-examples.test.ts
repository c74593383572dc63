import { type Calendar, creditNote, type Plan, planChange, planCharge, planTermination } from '@enablement/metering'
import { describe, expect, it } from 'vitest'

const HOUR = 3_600_000

const monthly = (anchor: string, timeZone = 'UTC'): Calendar => ({ every: { months: 1 }, timeZone, anchor })
const plan = (minorUnits: number, calendar: Calendar, more: Partial<Plan> = {}): Plan => ({
  name: `plan-${minorUnits}`,
  currency: 'USD',
  minorUnits,
  calendar,
  ...more
})
const amounts = ({ lines }: { readonly lines: readonly { readonly minorUnits: bigint }[] }): readonly bigint[] =>
  lines.map(({ minorUnits }) => minorUnits)

/** Public numbers, by the ids of the list of worked examples. `second` is Stripe and Polar, `day-inclusive` is Lago. */
describe('a worked example by the second', () => {
  const second = { profile: 'second', rounding: 'half-even', strategy: 'prorate' } as const
  const april = monthly('2026-04-01')
  const APRIL = Date.UTC(2026, 3, 1)

  it('A1: 10 to 20 exactly half-way', () => {
    const change = planChange({ ...second, from: plan(1_000, april), to: plan(2_000, april), at: APRIL + 360 * HOUR })
    expect(amounts(change)).toEqual([-500n, 1_000n])
    expect(change).toMatchObject({ net: 500, refund: 500, charge: 1_000, kind: 'upgrade' })
  })

  it('A2: the invoice after it is the renewal and the difference', () => {
    // The source says 15 May and $5: half of the period.
    const may = monthly('2026-05-01')
    const at = Date.UTC(2026, 4, 16, 12)
    const change = planChange({ ...second, from: plan(1_000, may), to: plan(2_000, may), at })
    const renewal = planCharge({ profile: 'second', rounding: 'half-even', plan: change.plan, at: change.period.to })
    expect(change.net + renewal.charge).toBe(2_500)
    expect(renewal.period.from).toBe(Date.UTC(2026, 5, 1))
  })

  it.each([
    ['A3', 500, 2_000, [-483n, 1_933n], 1_450],
    ['A4', 2_000, 500, [-1_933n, 483n], -1_450]
  ])('%s: a day of thirty used', (_id, from, to, lines, net) => {
    const change = planChange({ ...second, from: plan(from, april), to: plan(to, april), at: APRIL + 24 * HOUR })
    expect(amounts(change)).toEqual(lines)
    expect(change.net).toBe(net)
  })

  it('A5: half of January', () => {
    const january = monthly('2025-01-01')
    const at = Date.UTC(2025, 0, 16, 12)
    const change = planChange({ ...second, from: plan(1_000, january), to: plan(5_000, january), at })
    expect(amounts(change)).toEqual([-500n, 2_500n])
    expect(change.net).toBe(2_000)
  })
})

describe('a worked example by the day', () => {
  const day = { profile: 'day-inclusive', rounding: 'half-up' } as const
  const prorate = { ...day, strategy: 'prorate' } as const
  const march = monthly('2024-03-01', 'Europe/Paris')
  const onMarch = (date: number, hour = 10): number => Date.UTC(2024, 2, date, hour)
  const taxed = (net: number, of: { charge: number; tax: number }) =>
    creditNote({
      invoice: { net: BigInt(of.charge), tax: BigInt(of.tax) },
      net: BigInt(net),
      taxRate: '0.25',
      rounding: 'half-up'
    })

  it('A7: starts on the 5th of March', () => {
    expect(planCharge({ ...day, plan: plan(1_000, march), at: onMarch(5) }).charge).toBe(871)
  })

  it('A8, A9: changes on the 12th, and again an hour later', () => {
    const first = planChange({
      ...prorate,
      from: plan(1_000, march),
      to: plan(1_500, march),
      at: onMarch(12),
      charged: 871
    })
    expect(first.charge).toBe(968)
    expect(taxed(first.refund, { charge: 871, tax: 218 }).total).toBe(806n)
    const second = planChange({
      ...prorate,
      from: plan(1_500, march),
      to: plan(1_900, march),
      at: onMarch(12, 11),
      charged: first.charge
    })
    expect(second.charge).toBe(1_226)
    expect(taxed(second.refund, { charge: 968, tax: 242 }).total).toBe(1_210n)
    // All of what the plan of an hour was charged comes back.
    expect(second.refund).toBe(first.charge)
  })

  it('A11: a quarter of 91 days, of which 32 were used', () => {
    const quarter: Calendar = { every: { months: 3 }, timeZone: 'UTC', anchor: '2024-04-15' }
    const end = planTermination({
      ...day,
      from: plan(91_000, quarter),
      since: Date.UTC(2024, 4, 20, 9),
      at: Date.UTC(2024, 5, 20, 9)
    })
    expect(end.used).toBe(32_000)
  })

  it('A13: a downgrade to a year waits for the end of the month', () => {
    const month = monthly('2023-07-19')
    const year: Calendar = { every: { years: 1 }, timeZone: 'UTC', anchor: '2023-07-19' }
    const change = planChange({
      ...day,
      strategy: 'next-period',
      from: plan(12_900, month),
      to: plan(118_800, year),
      at: Date.UTC(2023, 10, 9, 15)
    })
    expect(change).toMatchObject({
      kind: 'downgrade',
      effectiveAt: Date.UTC(2023, 10, 19),
      refund: 0,
      charge: 78_875,
      period: { from: Date.UTC(2023, 6, 19), to: Date.UTC(2024, 6, 19) }
    })
    expect(amounts(change)).toEqual([78_875n])
  })

  it('A15: ends with seven days left, unpaid or paid in part', () => {
    const february = monthly('2023-02-01')
    const start = planCharge({ ...day, plan: plan(10_000, february), at: Date.UTC(2023, 1, 8) })
    const { refund } = planTermination({
      ...day,
      from: plan(10_000, february),
      at: Date.UTC(2023, 1, 21, 12),
      charged: start.charge
    })
    const note = (paid: bigint) =>
      creditNote({
        invoice: { net: BigInt(start.charge), tax: 1_500n },
        paid,
        net: BigInt(refund),
        taxRate: '0.2',
        rounding: 'half-up'
      })
    expect(start.charge).toBe(7_500)
    expect(note(0n)).toMatchObject({ net: 2_500n, tax: 500n, total: 3_000n, refund: 0n, credit: 3_000n })
    expect(note(7_500n)).toMatchObject({ refund: 1_500n, credit: 1_500n })
    expect(note(9_000n)).toMatchObject({ refund: 3_000n, credit: 0n })
  })

  it('A17: ends on its first day, which is used', () => {
    const april = monthly('2024-04-01')
    const { refund } = planTermination({ ...day, from: plan(20_000, april), at: Date.UTC(2024, 3, 1, 8) })
    expect(refund).toBe(19_333)
    expect(taxed(refund, { charge: 20_000, tax: 5_000 })).toMatchObject({ net: 19_333n, tax: 4_833n, total: 24_166n })
  })

  it('A20: credit notes never exceed their invoice', () => {
    const request = { invoice: { net: 76_900n, tax: 15_380n }, taxRate: '0.2', rounding: 'half-up' } as const
    const first = creditNote({ ...request, net: 72_686n })
    expect(first).toMatchObject({ net: 72_686n, tax: 14_537n, total: 87_223n, capped: false })
    const second = creditNote({ ...request, credited: { net: first.net, tax: first.tax }, net: 4_214n })
    expect(second).toMatchObject({ net: 4_214n, tax: 843n, total: 5_057n, capped: false })
    const credited = { net: first.net + second.net, tax: first.tax + second.tax }
    expect(creditNote({ ...request, credited, net: 1n })).toMatchObject({ total: 0n, capped: true })
  })

  it('A25: upgrades and downgrades are told by the month', () => {
    const year: Calendar = { every: { years: 1 }, timeZone: 'UTC', anchor: '2024-03-01' }
    const from = plan(2_000, march)
    const kinds = [plan(4_000, march), plan(1_500, march), plan(30_000, year), plan(18_000, year)].map(
      (to) => planChange({ ...prorate, from, to, at: onMarch(12) }).kind
    )
    expect(kinds).toEqual(['upgrade', 'downgrade', 'upgrade', 'downgrade'])
    expect(planChange({ ...prorate, from, to: plan(24_000, year), at: onMarch(12) }).kind).toBe('lateral')
  })

  it('A26: credits of the old plan are revoked before those of the new are granted (polar#9410)', () => {
    const { credits } = planChange({
      ...prorate,
      from: plan(1_000, march, { credits: 100 }),
      to: plan(5_000, march, { credits: 7_500 }),
      at: onMarch(12),
      unusedCredits: 100
    })
    expect(credits).toEqual({ revoked: 100, granted: 7_500 })
    expect(100 - (credits?.revoked ?? 0) + (credits?.granted ?? 0)).toBe(7_500)
  })
})
