import { type Calendar, calendarDays, periodFinder } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const HOUR_MS = 3_600_000
const scale = inject('scale')

const monthly = (anchor: string, timeZone = 'UTC'): Calendar => ({ every: { months: 1 }, timeZone, anchor })
const daily = (anchor: string, timeZone: string): Calendar => ({ every: { days: 1 }, timeZone, anchor })

/** The boundaries of the period around `at` and of those after it. */
function boundaries(calendar: Calendar, at: string, count: number): string[] {
  const finder = periodFinder(calendar)
  const first = finder.periodAt(Date.parse(at))
  return Array.from({ length: count }, (_, steps) => new Date(finder.shift(first, steps).from).toISOString())
}

const refused = (path: string) =>
  expect.objectContaining({
    code: 'INVALID_OPTIONS',
    detail: expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path })]) })
  })

describe('a period of months', () => {
  it('is clamped from its anchor, so that the 31st comes back (E1)', () => {
    expect(boundaries(monthly('2026-01-31'), '2026-02-01', 5)).toEqual([
      '2026-01-31T00:00:00.000Z',
      '2026-02-28T00:00:00.000Z',
      '2026-03-31T00:00:00.000Z',
      '2026-04-30T00:00:00.000Z',
      '2026-05-31T00:00:00.000Z'
    ])
  })

  it('ends on 29 February in a leap year, and on the 28th in 2100 (E1)', () => {
    expect(boundaries(monthly('2026-01-31'), '2028-02-01', 3)[1]).toBe('2028-02-29T00:00:00.000Z')
    expect(boundaries(monthly('2026-01-31'), '2100-02-01', 3)[1]).toBe('2100-02-28T00:00:00.000Z')
  })

  it('keeps the 29th and the 30th of longer months', () => {
    expect(boundaries(monthly('2027-01-29'), '2027-02-27', 3)).toEqual([
      '2027-01-29T00:00:00.000Z',
      '2027-02-28T00:00:00.000Z',
      '2027-03-29T00:00:00.000Z'
    ])
    expect(boundaries(monthly('2027-01-30'), '2027-03-01', 2)).toEqual([
      '2027-02-28T00:00:00.000Z',
      '2027-03-30T00:00:00.000Z'
    ])
  })

  it('of three begins on its anchor’s day: a quarter from 29 January, read on 28 February (E5)', () => {
    const quarterly: Calendar = { every: { months: 3 }, timeZone: 'UTC', anchor: '2022-01-29' }
    expect(boundaries(quarterly, '2022-02-28', 2)).toEqual(['2022-01-29T00:00:00.000Z', '2022-04-29T00:00:00.000Z'])
  })

  it('begins at the local time of its anchor', () => {
    expect(boundaries(monthly('2026-01-31T09:30:15.25', 'America/New_York'), '2026-03-01', 2)).toEqual([
      '2026-02-28T14:30:15.250Z',
      '2026-03-31T13:30:15.250Z'
    ])
  })
})

describe('a period of a year', () => {
  it('from 29 February counts an event at its end once, in the next (E3)', () => {
    const finder = periodFinder({ every: { years: 1 }, timeZone: 'UTC', anchor: '2024-02-29' })
    const first = finder.periodAt(Date.parse('2024-02-29'))
    expect(first).toEqual({ from: Date.parse('2024-02-29'), to: Date.parse('2025-02-28') })
    const second = { from: Date.parse('2025-02-28'), to: Date.parse('2026-02-28') }
    expect(finder.periodAt(Date.parse('2025-02-28T12:00Z'))).toEqual(second)
    expect(finder.shift(first, 4)).toEqual({ from: Date.parse('2028-02-29'), to: Date.parse('2029-02-28') })
  })
})

describe('a period', () => {
  it('is half-open to the millisecond', () => {
    const finder = periodFinder(monthly('2026-01-01', 'Europe/Paris'))
    const march = finder.periodAt(Date.parse('2026-03-15'))
    expect(march).toEqual({ from: Date.parse('2026-02-28T23:00Z'), to: Date.parse('2026-03-31T22:00Z') })
    expect(finder.periodAt(march.from)).toEqual(march)
    expect(finder.periodAt(march.to - 1)).toEqual(march)
    expect(finder.periodAt(march.to).from).toBe(march.to)
    expect(finder.periodAt(march.from - 1).to).toBe(march.from)
  })

  it('is found before the anchor, too', () => {
    expect(boundaries(monthly('2026-03-31'), '2025-02-15', 3)).toEqual([
      '2025-01-31T00:00:00.000Z',
      '2025-02-28T00:00:00.000Z',
      '2025-03-31T00:00:00.000Z'
    ])
  })

  it('of weeks keeps its weekday', () => {
    const fortnightly: Calendar = { every: { weeks: 2 }, timeZone: 'Asia/Kolkata', anchor: '2026-01-05' }
    expect(boundaries(fortnightly, '2026-01-18T12:00Z', 3)).toEqual([
      '2026-01-04T18:30:00.000Z',
      '2026-01-18T18:30:00.000Z',
      '2026-02-01T18:30:00.000Z'
    ])
  })

  it('follows the old zone up to the change and the new one after it', () => {
    // Turkey stayed on summer time in autumn 2016.
    expect(boundaries(monthly('2016-09-01', 'Europe/Istanbul'), '2016-12-15', 1)).toEqual(['2016-11-30T21:00:00.000Z'])
    expect(boundaries(monthly('2015-01-01', 'Europe/Istanbul'), '2015-12-15', 1)).toEqual(['2015-11-30T22:00:00.000Z'])
  })
})

describe('a day', () => {
  it.each([
    ['of 23 hours', 'Europe/Paris', '2026-03-29T12:00Z', 23],
    ['of 25 hours', 'Europe/Paris', '2026-10-25T12:00Z', 25],
    ['of 23 hours in the west', 'America/New_York', '2026-03-08T12:00Z', 23],
    ['of 25 hours in the west', 'America/New_York', '2026-11-01T12:00Z', 25],
    ['of 23 and a half hours', 'Australia/Lord_Howe', '2026-10-04T01:00Z', 23.5],
    ['of 24 and a half hours', 'Australia/Lord_Howe', '2026-04-05T01:00Z', 24.5],
    ['that begins at one o’clock, where midnight is skipped', 'America/Santiago', '2026-09-06T12:00Z', 23],
    ['that ends with an hour twice, midnight being the first after it', 'America/Santiago', '2026-04-05T00:00Z', 25],
    ['before a date that is skipped', 'Pacific/Apia', '2011-12-30T09:00Z', 24],
    ['after a date that is skipped', 'Pacific/Apia', '2011-12-30T10:00Z', 24],
    ['of 24 hours, where clocks never change', 'Asia/Kolkata', '2026-03-29T12:00Z', 24]
  ])('%s: %s', (_what, zone, at, hours) => {
    const { from, to } = periodFinder(daily('2020-01-01', zone)).periodAt(Date.parse(at))
    expect((to - from) / HOUR_MS).toBe(hours)
  })

  it.each([
    ['in a gap, at its end', 'Europe/Paris', '2026-03-29T02:30', '2026-03-29T01:00:00.000Z'],
    ['in an hour that is repeated, at the first time', 'Europe/Paris', '2026-10-25T02:30', '2026-10-25T00:30:00.000Z'],
    ['in a gap in the west', 'America/New_York', '2026-03-08T02:30', '2026-03-08T07:00:00.000Z'],
    ['in an hour that is repeated in the west', 'America/New_York', '2026-11-01T01:30', '2026-11-01T05:30:00.000Z'],
    ['in a gap of half an hour', 'Australia/Lord_Howe', '2026-10-04T02:15', '2026-10-03T15:30:00.000Z'],
    ['in half an hour that is repeated', 'Australia/Lord_Howe', '2026-04-05T01:45', '2026-04-04T14:45:00.000Z'],
    ['at a midnight that is skipped', 'America/Santiago', '2026-09-06', '2026-09-06T04:00:00.000Z'],
    ['at a midnight that clocks reach twice', 'America/Havana', '2026-11-01', '2026-11-01T04:00:00.000Z'],
    ['on a date that is skipped', 'Pacific/Apia', '2011-12-30T09:00', '2011-12-30T10:00:00.000Z']
  ])('that begins %s: %s', (_what, zone, anchor, begins) => {
    const begun = Date.parse(begins)
    const finder = periodFinder(daily(anchor, zone))
    expect(finder.periodAt(begun).from).toBe(begun)
    expect(finder.periodAt(begun - 1).to).toBe(begun)
  })

  it('has begun although clocks were set back into the day before (St. John’s, a minute past midnight)', () => {
    const { from, to } = periodFinder(daily('2010-01-01', 'America/St_Johns')).periodAt(Date.parse('2010-11-07T03:00Z'))
    expect(new Date(from).toISOString()).toBe('2010-11-07T02:30:00.000Z')
    expect((to - from) / HOUR_MS).toBe(25)
  })

  it('that a zone skipped is no period', () => {
    const finder = periodFinder(daily('2011-01-01', 'Pacific/Apia'))
    const before = finder.periodAt(Date.parse('2011-12-29T12:00Z'))
    const after = finder.shift(before, 1)
    expect(before.to).toBe(Date.parse('2011-12-30T10:00Z'))
    expect(after).toEqual({ from: before.to, to: before.to + 24 * HOUR_MS })
    expect(finder.shift(after, -1)).toEqual(before)
    expect(finder.shift(finder.shift(before, -3), 5)).toEqual(finder.shift(before, 2))
  })
})

const ZONES = [
  'UTC',
  'Europe/Paris',
  'America/New_York',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'America/Santiago',
  'America/Havana',
  'America/St_Johns',
  'Africa/Casablanca',
  'Asia/Kathmandu'
] as const

const calendars: fc.Arbitrary<Calendar> = fc.record({
  every: fc.oneof(
    fc.record({ days: fc.integer({ min: 1, max: 100 }) }),
    fc.record({ weeks: fc.integer({ min: 1, max: 10 }) }),
    fc.record({ months: fc.integer({ min: 1, max: 24 }) }),
    fc.record({ years: fc.integer({ min: 1, max: 5 }) })
  ),
  timeZone: fc.constantFrom(...ZONES),
  anchor: fc
    .tuple(
      fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2100, 0) }),
      fc.constantFrom(10, 16, 19, 23) // a date; and to the minute, the second, the millisecond
    )
    .map(([at, length]) => new Date(at).toISOString().slice(0, length))
})

const instants = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2101, 0) - 1 })

/** What clocks in a zone show, as if it were UTC. By ECMA-402, not by the library that finds the periods. */
function shownAt(at: number, timeZone: string): number {
  let format = formats.get(timeZone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric'
    })
    formats.set(timeZone, format)
  }
  const part = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]))
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = part
  return Date.UTC(year, month - 1, day, hour, minute, second, ((at % 1000) + 1000) % 1000)
}
const formats = new Map<string, Intl.DateTimeFormat>()

/** The anchor so many periods on, as if it were UTC, by the arithmetic of `Date`. */
function anchorLater({ every, anchor }: Calendar, periods: number): number {
  const start = new Date(anchor.length === 10 ? anchor : `${anchor}Z`)
  if ('days' in every) return start.getTime() + periods * every.days * 24 * HOUR_MS
  if ('weeks' in every) return start.getTime() + periods * every.weeks * 7 * 24 * HOUR_MS
  const months = periods * ('months' in every ? every.months : every.years * 12)
  const lastDay = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + months + 1, 0)).getUTCDate()
  const day = Math.min(start.getUTCDate(), lastDay)
  return Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + months, day) + (start.getTime() % (24 * HOUR_MS))
}

describe('the periods of any calendar, 2000 to 2100', () => {
  test.prop([calendars, instants, fc.integer({ min: -15, max: 15 })], { numRuns: Math.ceil(150 * scale) })(
    'hold their instants, are contiguous, and can be walked there and back',
    (calendar, at, steps) => {
      const finder = periodFinder(calendar)
      const period = finder.periodAt(at)
      expect(period.from).toBeLessThanOrEqual(at)
      expect(period.to).toBeGreaterThan(at)
      expect(finder.periodAt(period.from)).toEqual(period)
      expect(finder.periodAt(period.to - 1)).toEqual(period)
      const next = finder.shift(period, 1)
      expect(next.from).toBe(period.to)
      expect(next.to).toBeGreaterThan(next.from)
      expect(finder.periodAt(next.from)).toEqual(next)
      expect(finder.shift(finder.shift(period, steps), -steps)).toEqual(period)
      // A finder that has not been asked before answers the same: what is kept changes nothing.
      expect(periodFinder(calendar).periodAt(at)).toEqual(period)
    }
  )

  test.prop([calendars, fc.integer({ min: -60, max: 60 })], { numRuns: Math.ceil(150 * scale) })(
    'begin when clocks show the anchor’s time, or jump over it',
    (calendar, periods) => {
      const expected = anchorLater(calendar, periods)
      fc.pre(expected >= Date.UTC(1990, 0) && expected < Date.UTC(2200, 0))
      const finder = periodFinder(calendar)
      // In no zone is it this instant, so look a day around it for the boundary.
      const candidates = [-36, -12, 12, 36].flatMap((hours) => {
        const { from, to } = finder.periodAt(expected + hours * HOUR_MS)
        return [from, to]
      })
      const isBoundary = candidates.some((at) => {
        const shown = shownAt(at, calendar.timeZone)
        return shown === expected || (shown > expected && shownAt(at - 1, calendar.timeZone) < expected)
      })
      expect(isBoundary).toBe(true)
    }
  )

  test.prop([calendars, fc.uniqueArray(instants, { minLength: 1, maxLength: 20 })], {
    numRuns: Math.ceil(50 * scale)
  })('are the same whatever was asked before, and whichever way a range is cut (E9)', (calendar, cuts) => {
    const finder = periodFinder(calendar)
    const asked = cuts.map((at) => finder.periodAt(at))
    expect(cuts.map((at) => periodFinder(calendar).periodAt(at))).toEqual(asked)
  })
})

describe('a calendar that is none', () => {
  const good = monthly('2026-01-31', 'Europe/Paris')
  it.each([
    ['every', { every: {} }],
    ['every', { every: { days: 1, months: 1 } }],
    ['every.fortnights', { every: { fortnights: 1 } }],
    ['every.days', { every: { days: 0 } }],
    ['every.weeks', { every: { weeks: -1 } }],
    ['every.months', { every: { months: 1.5 } }],
    ['every.years', { every: { years: 101 } }],
    ['every.days', { every: { days: Number.NaN } }],
    ['timeZone', { timeZone: 'Europe/Atlantis' }],
    ['timeZone', { timeZone: '+02:00' }],
    ['timeZone', { timeZone: '' }],
    ['anchor', { anchor: '2026-02-30' }],
    ['anchor', { anchor: '2026-13-01' }],
    ['anchor', { anchor: '2026-01-31T24:00' }],
    ['anchor', { anchor: '2026-01-31T10:00:60' }],
    ['anchor', { anchor: '2026-01-31T00:00Z' }],
    ['anchor', { anchor: '2026-01-31T00:00+01:00' }],
    ['anchor', { anchor: '2026-01-31[Europe/Paris]' }],
    ['anchor', { anchor: '1899-12-31' }],
    ['anchor', { anchor: 'tomorrow' }],
    ['zone', { zone: 'UTC' }]
  ])('is refused with the path %s: %o', (path, wrong) => {
    expect(() => periodFinder({ ...good, ...wrong } as Calendar)).toThrow(refused(path))
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1_769_817_600_000.5, -2_208_988_800_001, 256_558_060_800_000])(
    'does not know the instant %d',
    (at) => {
      const finder = periodFinder(good)
      finder.periodAt(Date.parse('2026-01-31'))
      expect(() => finder.periodAt(at)).toThrow(refused('at'))
    }
  )

  it('does not walk from what is no period of it, nor without end', () => {
    const finder = periodFinder(good)
    const period = finder.periodAt(Date.parse('2026-02-03'))
    expect(() => finder.shift({ from: period.from, to: period.to - 1 }, 1)).toThrow(refused('period'))
    expect(() => finder.shift({ from: period.from + 1, to: period.to }, 1)).toThrow(refused('period'))
    expect(() => finder.shift(period, 0.5)).toThrow(refused('steps'))
    expect(() => finder.shift(period, 36_526)).toThrow(refused('steps'))
    expect(finder.shift(period, 0)).toEqual(period)
    expect(() => finder.shift(period, -2_000)).toThrow(refused('steps'))
    const centuries = periodFinder({ ...good, every: { years: 100 } })
    expect(() => centuries.shift(centuries.periodAt(period.from), 36_000)).toThrow(refused('steps'))
    const days = periodFinder({ ...good, every: { days: 1 } })
    expect(() => days.shift(days.periodAt(Date.UTC(1900, 0, 5)), -10)).toThrow(refused('at'))
  })
})

describe('days on a calendar', () => {
  it.each([
    ['a month in the customer’s zone (E7)', 'Europe/Paris', '2023-08-31T23:10:00Z', '2023-09-30T22:59:59Z', 30],
    ['a whole month', 'Europe/Paris', '2023-08-31T22:00:00Z', '2023-09-30T22:00:00Z', 30],
    ['the month with a day of 23 hours', 'Europe/Paris', '2026-02-28T23:00:00Z', '2026-03-31T22:00:00Z', 31],
    ['the month with a day of 25 hours', 'Europe/Paris', '2026-09-30T22:00:00Z', '2026-10-31T23:00:00Z', 31],
    ['a leap year', 'UTC', '2024-01-01T00:00:00Z', '2025-01-01T00:00:00Z', 366],
    ['within a day', 'UTC', '2024-01-01T00:00:00Z', '2024-01-01T23:59:59Z', 0],
    ['across midnight', 'UTC', '2024-01-01T23:59:59Z', '2024-01-02T00:00:00Z', 1],
    ['the day after a midnight that was skipped', 'America/Santiago', '2026-09-06T04:00:00Z', '2026-09-07T03:00:00Z', 1]
  ])('%s', (_what, zone, from, to, days) => {
    expect(calendarDays({ from: Date.parse(from), to: Date.parse(to) }, zone)).toBe(days)
  })

  test.prop([fc.tuple(instants, instants, instants), fc.constantFrom(...ZONES)], { numRuns: Math.ceil(100 * scale) })(
    'add up, wherever a period is cut (E9)',
    (ats, zone) => {
      const [from = 0, cut = 0, to = 0] = [...ats].sort((a, b) => a - b)
      const parts = calendarDays({ from, to: cut }, zone) + calendarDays({ from: cut, to }, zone)
      expect(parts).toBe(calendarDays({ from, to }, zone))
    }
  )
})
