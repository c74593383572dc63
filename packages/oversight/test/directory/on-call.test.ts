import { type OnCallLayer, type OnCallSchedule, onCallAt, type WeeklyWindow } from '@enablement/oversight'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { oracleAt } from './on-call-oracle.ts'

const DAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const
const DAY_MS = 86_400_000

const layer = (changed: Partial<OnCallLayer> = {}): OnCallLayer => ({
  name: 'primary',
  participants: ['ana', 'bo'],
  startsOn: '2026-01-05',
  handoffAt: '09:00',
  every: { weeks: 1 },
  ...changed
})

const schedule = (zone: string, ...layers: readonly OnCallLayer[]): OnCallSchedule => ({ zone, layers })

const dayBefore = (date: string): string => new Date(Date.parse(date) - DAY_MS).toISOString().slice(0, 10)
const refused = (path: string) =>
  expect.objectContaining({
    code: 'INVALID_OPTIONS',
    detail: expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path })]) })
  })

describe('a handoff', () => {
  it.each([
    ['before a gap', 'Europe/Berlin', '2026-03-29', '01:59', '2026-03-29T00:59:00Z'],
    ['at the start of a gap', 'Europe/Berlin', '2026-03-29', '02:00', '2026-03-29T01:00:00Z'],
    ['in a gap, at its end', 'Europe/Berlin', '2026-03-29', '02:30', '2026-03-29T01:00:00Z'],
    ['after a gap', 'Europe/Berlin', '2026-03-29', '03:01', '2026-03-29T01:01:00Z'],
    ['in a repeated hour, at the first', 'Europe/Berlin', '2026-10-25', '02:30', '2026-10-25T00:30:00Z'],
    ['after a repeated hour', 'Europe/Berlin', '2026-10-25', '03:00', '2026-10-25T02:00:00Z'],
    ['in a gap in the west', 'America/New_York', '2026-03-08', '02:30', '2026-03-08T07:00:00Z'],
    ['in a repeated hour in the west', 'America/New_York', '2026-11-01', '01:30', '2026-11-01T05:30:00Z'],
    ['in a gap of half an hour', 'Australia/Lord_Howe', '2026-10-04', '02:15', '2026-10-03T15:30:00Z'],
    ['in a repeated half hour', 'Australia/Lord_Howe', '2026-04-05', '01:45', '2026-04-04T14:45:00Z'],
    ['where clocks never change', 'Asia/Kolkata', '2026-03-29', '02:30', '2026-03-28T21:00:00Z'],
    ['at a midnight that there was not', 'America/Sao_Paulo', '2018-11-04', '00:00', '2018-11-04T03:00:00Z'],
    ['in the hour before midnight, repeated', 'America/Sao_Paulo', '2018-02-17', '23:30', '2018-02-18T01:30:00Z'],
    ['since a country gave up summer time', 'America/Sao_Paulo', '2026-11-04', '00:00', '2026-11-04T03:00:00Z'],
    ['on a date that a country skipped', 'Pacific/Apia', '2011-12-30', '09:00', '2011-12-30T10:00:00Z'],
    ['on the date after', 'Pacific/Apia', '2011-12-31', '09:00', '2011-12-30T19:00:00Z']
  ])('happens to the millisecond %s (pitfall 16)', (_, zone, date, handoffAt, expected) => {
    const daily = schedule(zone, layer({ startsOn: dayBefore(date), handoffAt, every: { days: 1 } }))
    const at = Date.parse(expected)
    expect(onCallAt(daily, at - 1)).toMatchObject({ onCall: ['ana'], until: at })
    expect(onCallAt(daily, at)).toMatchObject({ onCall: ['bo'], because: [{ by: 'turn', from: at }] })
  })

  it('gives the turn of a skipped date no time when handoffs are at midnight', () => {
    const daily = schedule('Pacific/Apia', layer({ startsOn: '2011-12-29', handoffAt: '00:00', every: { days: 1 } }))
    const skipped = Date.parse('2011-12-30T10:00:00Z')
    expect(onCallAt(daily, skipped - 1)).toMatchObject({ onCall: ['ana'], until: skipped })
    expect(onCallAt(daily, skipped)).toMatchObject({ onCall: ['ana'], because: [{ from: skipped }] })
  })

  it('at midnight is not undone when clocks are set back to before midnight', () => {
    const daily = layer({ startsOn: '2010-11-06', handoffAt: '00:00', every: { days: 1 } })
    const onCall = (at: string) => onCallAt(schedule('America/St_Johns', daily), Date.parse(at)).onCall
    expect(onCall('2010-11-07T02:29:59.999Z')).toEqual(['ana'])
    expect(onCall('2010-11-07T02:30:00Z')).toEqual(['bo'])
    expect(onCall('2010-11-07T02:45:00Z')).toEqual(['bo'])
    const sunday = layer({ startsOn: '2010-11-01', windows: [{ days: ['sunday'], from: '00:00', until: '24:00' }] })
    expect(onCallAt(schedule('America/St_Johns', sunday), Date.parse('2010-11-07T02:45:00Z')).onCall).toHaveLength(1)
  })

  it('counts weeks by the calendar, not by hours', () => {
    const weekly = schedule('Europe/Berlin', layer({ startsOn: '2026-03-23' }))
    const handoff = Date.parse('2026-03-30T09:00:00+02:00')
    expect(onCallAt(weekly, handoff - 1)).toMatchObject({ onCall: ['ana'], until: handoff })
    expect(onCallAt(weekly, handoff)).toMatchObject({ onCall: ['bo'] })
  })

  it('comes first on the date on which the layer starts; before it nobody is on call', () => {
    const start = Date.parse('2026-01-05T09:00:00+01:00')
    expect(onCallAt(schedule('Europe/Berlin', layer()), start - 1)).toEqual({ onCall: [], until: start, because: [] })
    expect(onCallAt(schedule('Europe/Berlin', layer()), start).onCall).toEqual(['ana'])
  })
})

describe('a window', () => {
  const within = (date: string, from: string, until: string): WeeklyWindow => ({
    days: [DAYS[(new Date(date).getUTCDay() + 6) % 7] as (typeof DAYS)[number]],
    from,
    until
  })

  it.each([
    [
      'ends at the second of two',
      'Europe/Berlin',
      '2026-10-25',
      '01:00',
      '02:30',
      '2026-10-24T23:00Z',
      '2026-10-25T01:30Z'
    ],
    [
      'starts at the first of two',
      'Europe/Berlin',
      '2026-10-25',
      '02:30',
      '04:00',
      '2026-10-25T00:30Z',
      '2026-10-25T03:00Z'
    ],
    ['ends in a gap', 'Europe/Berlin', '2026-03-29', '01:30', '02:30', '2026-03-29T00:30Z', '2026-03-29T01:00Z'],
    [
      'starts in a gap, and loses nothing after it',
      'Europe/Berlin',
      '2026-03-29',
      '02:30',
      '03:15',
      '2026-03-29T01:00Z',
      '2026-03-29T01:15Z'
    ],
    [
      'ends at the second of two in the west',
      'America/New_York',
      '2026-11-01',
      '00:30',
      '01:30',
      '2026-11-01T04:30Z',
      '2026-11-01T06:30Z'
    ],
    [
      'ends at the second of two, half an hour apart',
      'Australia/Lord_Howe',
      '2026-04-05',
      '01:00',
      '01:45',
      '2026-04-04T14:00Z',
      '2026-04-04T15:15Z'
    ],
    [
      'starts in a gap of half an hour',
      'Australia/Lord_Howe',
      '2026-10-04',
      '02:15',
      '03:00',
      '2026-10-03T15:30Z',
      '2026-10-03T16:00Z'
    ],
    ['goes on past midnight', 'Asia/Kolkata', '2026-03-28', '22:00', '06:00', '2026-03-28T16:30Z', '2026-03-29T00:30Z'],
    [
      'ends at a midnight after a repeated hour',
      'America/Sao_Paulo',
      '2018-02-17',
      '22:00',
      '24:00',
      '2018-02-18T00:00Z',
      '2018-02-18T03:00Z'
    ],
    [
      'ends where a date was skipped',
      'Pacific/Apia',
      '2011-12-29',
      '22:00',
      '06:00',
      '2011-12-30T08:00Z',
      '2011-12-30T10:00Z'
    ],
    [
      'lasts a day from a time to the same time',
      'UTC',
      '2026-03-28',
      '09:00',
      '09:00',
      '2026-03-28T09:00Z',
      '2026-03-29T09:00Z'
    ]
  ])('%s (pitfall 16)', (_, zone, date, from, until, starts, ends) => {
    const open = schedule(zone, layer({ startsOn: '2011-01-03', windows: [within(date, from, until)] }))
    const [start, end] = [Date.parse(starts), Date.parse(ends)]
    const counts = [start - 1, start, end - 1, end].map((at) => onCallAt(open, at).onCall.length)
    expect(counts).toEqual([0, 1, 1, 0])
    expect([onCallAt(open, start - 1).until, onCallAt(open, end - 1).until]).toEqual([start, end])
  })

  it('that lies in a gap as a whole is not open on that day, and is on the next', () => {
    const nightly = schedule('Europe/Berlin', layer({ windows: [{ days: DAYS, from: '02:00', until: '03:00' }] }))
    expect(onCallAt(nightly, Date.parse('2026-03-29T00:00Z')).until).toBe(Date.parse('2026-03-30T02:00+02:00'))
  })

  it('and the next one are both open in a repeated hour at whose middle they meet', () => {
    const window = (from: string, until: string): readonly WeeklyWindow[] => [{ days: DAYS, from, until }]
    const both = schedule(
      'Europe/Berlin',
      layer({ name: 'night', participants: ['ana'], windows: window('20:00', '02:30') }),
      layer({ name: 'morning', participants: ['bo'], windows: window('02:30', '08:00') })
    )
    const onCall = (at: string) => onCallAt(both, Date.parse(at)).onCall
    expect(onCall('2026-10-25T00:29:59.999Z')).toEqual(['ana'])
    expect(onCall('2026-10-25T00:30:00Z')).toEqual(['ana', 'bo'])
    expect(onCall('2026-10-25T01:29:59.999Z')).toEqual(['ana', 'bo'])
    expect(onCall('2026-10-25T01:30:00Z')).toEqual(['bo'])
  })
})

describe('an override', () => {
  const weekly = (...overrides: OnCallSchedule['overrides'] & object): OnCallSchedule => ({
    ...schedule('UTC', layer(), layer({ name: 'secondary', participants: ['cy', 'ana'] })),
    overrides
  })
  const at = Date.parse('2026-01-06T12:00Z')
  const span = { from: at, until: at + 1_000 }

  it('puts someone in for someone else from its first millisecond to its last', () => {
    const swapped = weekly({ ...span, remove: 'ana', add: 'dee' })
    expect(onCallAt(swapped, at - 1)).toMatchObject({ onCall: ['ana', 'cy'], until: at })
    expect(onCallAt(swapped, at)).toMatchObject({
      onCall: ['cy', 'dee'],
      until: at + 1_000,
      because: [
        { approver: 'cy', by: 'turn', layer: 'secondary' },
        { approver: 'dee', by: 'override', insteadOf: 'ana', ...span }
      ]
    })
    expect(onCallAt(swapped, at + 999).onCall).toEqual(['cy', 'dee'])
    expect(onCallAt(swapped, at + 1_000).onCall).toEqual(['ana', 'cy'])
  })

  it('does not put in anyone for someone who is not on call', () => {
    expect(onCallAt(weekly({ ...span, remove: 'bo', add: 'dee' }), at).onCall).toEqual(['ana', 'cy'])
  })

  it('adds and removes alone, and names everyone once', () => {
    const changed = weekly({ ...span, add: 'dee' }, { ...span, remove: 'ana' }, { ...span, add: 'cy' })
    expect(onCallAt(changed, at).onCall).toEqual(['cy', 'dee'])
    expect(onCallAt(changed, at).because).toHaveLength(3)
  })
})

describe('a schedule', () => {
  const wrong: readonly (readonly [string, unknown, string])[] = [
    ['an unknown zone', schedule('Europe/Atlantis', layer()), 'zone'],
    ['an offset for a zone', schedule('+02:00', layer()), 'zone'],
    ['no layer', schedule('UTC'), 'layers'],
    ['seventeen layers', schedule('UTC', ...Array.from({ length: 17 }, (_, n) => layer({ name: `l${n}` }))), 'layers'],
    ['two layers of one name', schedule('UTC', layer(), layer()), 'layers.1.name'],
    ['no participant', schedule('UTC', layer({ participants: [] })), 'layers.0.participants'],
    ['a date that no calendar has', schedule('UTC', layer({ startsOn: '2026-02-30' })), 'layers.0.startsOn'],
    ['a date before 1970', schedule('UTC', layer({ startsOn: '1969-12-31' })), 'layers.0.startsOn'],
    ['a time that no clock shows', schedule('UTC', layer({ handoffAt: '24:00' })), 'layers.0.handoffAt'],
    ['a turn of no time', schedule('UTC', layer({ every: { days: 0 } })), 'layers.0.every.days'],
    ['a turn of NaN', schedule('UTC', layer({ every: { weeks: Number.NaN } })), 'layers.0.every'],
    ['a misspelt member', schedule('UTC', layer({ handofAt: '09:00' } as never)), 'layers.0.handofAt'],
    [
      'windows that overlap',
      windows([['monday'], '09:00', '17:00'], [['monday'], '16:59', '18:00']),
      'layers.0.windows.1'
    ],
    [
      'a window that overlaps the next day',
      windows([['tuesday', 'monday'], '09:00', '09:01'], [['monday'], '10:00', '09:01']),
      'layers.0.windows.0'
    ],
    [
      'windows that overlap across the week',
      windows([['sunday'], '20:00', '08:00'], [['monday'], '07:59', '08:30']),
      'layers.0.windows.1'
    ],
    ['a day twice', windows([['monday', 'monday'], '09:00', '17:00']), 'layers.0.windows.0'],
    ['an override that ends before it starts', overrides({ from: 2, until: 1, add: 'ana' }), 'overrides.0.until'],
    ['an override of nobody', overrides({ from: 1, until: 2 }), 'overrides.0'],
    [
      'overrides of one person that overlap',
      overrides({ from: 1, until: 3, add: 'ana' }, { from: 2, until: 4, remove: 'ana' }),
      'overrides.1'
    ]
  ]
  it.each(wrong)('is refused with %s, by its path', (_, given, path) => {
    expect(() => onCallAt(given as OnCallSchedule, 0)).toThrow(refused(path))
  })

  it('is taken where windows and overrides meet but do not overlap', () => {
    expect(onCallAt(windows([['monday'], '09:00', '17:00'], [['monday'], '17:00', '09:00']), 0).onCall).toEqual([])
    expect(
      onCallAt(overrides({ from: 1, until: 2, add: 'ana' }, { from: 2, until: 3, remove: 'ana' }), 1).onCall
    ).toEqual(['ana'])
  })

  it.each([Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, 253_402_300_800_000])(
    'has no answer for the instant %s',
    (at) => {
      expect(() => onCallAt(schedule('UTC', layer()), at)).toThrow(refused(''))
    }
  )

  it('answers to the end of the year 9999', () => {
    expect(onCallAt(schedule('Pacific/Apia', layer()), 253_402_300_799_999).onCall).toHaveLength(1)
  })

  function windows(...given: readonly (readonly [WeeklyWindow['days'], string, string])[]): OnCallSchedule {
    return schedule('UTC', layer({ windows: given.map(([days, from, until]) => ({ days, from, until })) }))
  }
  function overrides(...given: readonly object[]): OnCallSchedule {
    return { ...schedule('UTC', layer()), overrides: given as never }
  }
})

describe('any schedule', () => {
  /** For a hundred times the runs, on a busy machine. */
  const SOAK_MS = 300_000
  const numRuns = Math.max(10, Math.floor(60 * inject('scale')))
  /** With changes of clocks in the spans below: of an hour, of half an hour, at midnight, of a date, none. */
  const zones = fc.constantFrom(
    { zone: 'Europe/Berlin', year: 2026, changes: ['2026-03-29T01:00Z', '2026-10-25T01:00Z'] },
    { zone: 'America/New_York', year: 2026, changes: ['2026-03-08T07:00Z', '2026-11-01T06:00Z'] },
    { zone: 'Australia/Lord_Howe', year: 2026, changes: ['2026-04-04T15:00Z', '2026-10-03T15:30Z'] },
    { zone: 'America/Sao_Paulo', year: 2018, changes: ['2018-02-18T02:00Z', '2018-11-04T03:00Z'] },
    { zone: 'Pacific/Apia', year: 2011, changes: ['2011-12-30T10:00Z', '2011-04-02T14:00Z'] },
    { zone: 'Asia/Kolkata', year: 2026, changes: ['2026-03-29T00:00Z', '2026-10-25T00:00Z'] }
  )
  const time = fc.nat({ max: 95 }).map((n) => clockOf(n * 15))
  /** Half of the times lie where changes of clocks strike. */
  const riskyTime = fc.oneof(
    time,
    fc.integer({ min: 0, max: 14 }).map((n) => clockOf(n * 15))
  )
  const window = fc.record({ days: fc.subarray([...DAYS], { minLength: 1 }), from: riskyTime, until: riskyTime })
  const someLayer = (name: string, year: number) =>
    fc.record({
      name: fc.constant(name),
      participants: fc.constantFrom(['ana'], ['ana', 'bo'], ['ana', 'bo', 'cy']),
      startsOn: fc.nat({ max: 20 }).map((n) => new Date(Date.UTC(year - 1, 11, 1 + n)).toISOString().slice(0, 10)),
      handoffAt: riskyTime,
      every: fc.oneof(fc.record({ days: fc.integer({ min: 1, max: 9 }) }), fc.record({ weeks: fc.constantFrom(1, 2) }))
    })
  const situation = zones.chain(({ zone, year, changes }) =>
    fc.record({
      zone: fc.constant(zone),
      year: fc.constant(year),
      layers: fc.tuple(someLayer('one', year), someLayer('two', year)),
      windows: fc.array(window, { maxLength: 1 }),
      instants: fc.array(
        fc.oneof(
          fc.integer({ min: Date.UTC(year, 0), max: Date.UTC(year + 1, 0) - 1 }),
          fc
            .tuple(fc.constantFrom(...changes), fc.integer({ min: -16, max: 16 }), fc.constantFrom(-1, 0, 1))
            .map(([change, quarters, ms]) => Date.parse(change) + quarters * 900_000 + ms)
        ),
        { minLength: 20, maxLength: 20 }
      )
    })
  )

  test.prop([situation], { numRuns })(
    'puts on call whom a clock on the wall does',
    ({ zone, layers, windows, instants }) => {
      const given = schedule(zone, layers[0], { ...layers[1], ...(windows.length === 0 ? {} : { windows }) })
      for (const at of instants) {
        expect([at, sorted(onCallAt(given, at).onCall)]).toEqual([at, sorted(oracleAt(given, at))])
      }
    },
    SOAK_MS
  )

  test.prop([situation], { numRuns: Math.ceil(numRuns / 15) })(
    'hands off without a gap and without an overlap through a year, one person a layer at every instant',
    ({ zone, year, layers: [one, two] }) => {
      const pair = schedule(zone, one, { ...two, participants: ['dee', 'eve'] })
      const end = Date.UTC(year + 1, 0)
      let before: ReturnType<typeof onCallAt>['because'] = []
      for (let at = Date.UTC(year, 0); at < end; ) {
        const { onCall, until, because } = onCallAt(pair, at)
        expect(onCall).toHaveLength(2)
        expect(until).toBeGreaterThan(at)
        expect(onCallAt(pair, until - 1)).toEqual({ onCall, until, because })
        for (const reason of because) {
          expect(reason.from <= at && reason.until >= until).toBe(true)
          const last = before.find(
            (other) => other.by === 'turn' && reason.by === 'turn' && other.layer === reason.layer
          )
          if (last !== undefined && last.from !== reason.from) expect(reason.from).toBe(last.until)
        }
        before = because
        at = until
      }
    },
    SOAK_MS
  )

  function clockOf(minutes: number): string {
    return `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`
  }
  function sorted(ids: readonly string[]): readonly string[] {
    return [...new Set(ids)].toSorted()
  }
})
