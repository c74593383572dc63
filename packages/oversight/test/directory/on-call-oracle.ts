import type { OnCallLayer, OnCallSchedule, Weekday } from '@enablement/oversight'

/**
 * Who a schedule without overrides puts on call, found by looking at a clock on the wall every quarter of an hour, and by
 * no calendar arithmetic: the rule in words, slow and plain. Times of the schedule must be whole quarters of an hour, as
 * all changes of clocks are since 1970.
 */
export function oracleAt({ zone, layers }: OnCallSchedule, at: number): readonly string[] {
  return layers.flatMap((layer) => {
    const turn = turnOf(layer, zone, at)
    return turn !== undefined && isInForce(layer, zone, at) ? [turn] : []
  })
}

const QUARTER_MS = 900_000
const DAY_MS = 86_400_000
const WEEKDAYS: readonly Weekday[] = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday']

function turnOf(
  { participants, startsOn, handoffAt, every }: OnCallLayer,
  zone: string,
  at: number
): string | undefined {
  const days = 'days' in every ? every.days : every.weeks * 7
  const start = Date.parse(`${startsOn}T${handoffAt}Z`)
  let turn: string | undefined
  const near = Math.floor((at - start) / (days * DAY_MS))
  for (let n = Math.max(0, near - 2); n <= near + 2; n += 1) {
    if (firstTimeOf(start + n * days * DAY_MS, zone) <= at) turn = participants[n % participants.length]
  }
  return turn
}

function isInForce({ windows }: OnCallLayer, zone: string, at: number): boolean {
  if (windows === undefined) return true
  const today = Math.floor(wallAt(at, zone) / DAY_MS) * DAY_MS
  return windows.some(({ days, from, until }) =>
    [today - DAY_MS, today].some((day) => {
      if (!days.includes(WEEKDAYS[new Date(day).getUTCDay()] as Weekday)) return false
      const end = day + msOf(until) + (until <= from ? DAY_MS : 0)
      return firstTimeOf(day + msOf(from), zone) <= at && at < lastTimeOf(end, zone)
    })
  )
}

const msOf = (time: string): number => Number(time.slice(0, 2)) * 3_600_000 + Number(time.slice(3)) * 60_000

/** The first quarter of an hour in which the wall shows `wall` or later. */
function firstTimeOf(wall: number, zone: string): number {
  let at = wall - 15 * 3_600_000
  while (wallAt(at, zone) < wall) at += QUARTER_MS
  return at
}

/** The last quarter of an hour that begins with the wall showing `wall`; in a gap, the first after it. */
function lastTimeOf(wall: number, zone: string): number {
  const first = firstTimeOf(wall, zone)
  for (let at = first + DAY_MS; at > first; at -= QUARTER_MS) if (wallAt(at, zone) === wall) return at
  return first
}

const clocks = new Map<string, { readonly format: Intl.DateTimeFormat; readonly offsets: Map<number, number> }>()

/** What a clock in the zone shows, as if it were UTC. */
function wallAt(at: number, zone: string): number {
  let clock = clocks.get(zone)
  if (clock === undefined) {
    const parts = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' } as const
    const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, calendar: 'iso8601', hourCycle: 'h23', ...parts })
    clock = { format, offsets: new Map() }
    clocks.set(zone, clock)
  }
  const quarter = Math.floor(at / QUARTER_MS) * QUARTER_MS
  let offset = clock.offsets.get(quarter)
  if (offset === undefined) {
    offset = Date.parse(`${clock.format.format(quarter).replace(' ', 'T')}Z`) - quarter
    clock.offsets.set(quarter, offset)
  }
  return at + offset
}
