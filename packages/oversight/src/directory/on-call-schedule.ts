import { z } from 'zod'
import { identitySchema } from './identity.ts'
import { dayOf, isZone } from './wall-time.ts'

/** Who is on call when. Several layers put several people on call at once. */
export interface OnCallSchedule {
  /** The time zone of its dates and times by its IANA name, such as `Europe/Berlin`. */
  readonly zone: string
  /** Each puts one person on call while it is in force: 1 to 16. */
  readonly layers: readonly OnCallLayer[]
  /** Exceptions, at most 1,000. Those that overlap in time may not concern the same person. */
  readonly overrides?: readonly OnCallOverride[]
}

/** People who take turns. */
export interface OnCallLayer {
  /** Unique in the schedule; names the layer in the record. */
  readonly name: string
  /** Their ids in the order of their turns, 1 to 100. An id may come more than once. */
  readonly participants: readonly string[]
  /** The date of the first handoff, as `2026-01-05`. Before it the layer has nobody. */
  readonly startsOn: string
  /** The local time of every handoff, as `09:00`. */
  readonly handoffAt: string
  /** How long a turn lasts: 1 to 366 days, or 1 to 52 weeks, by the calendar. */
  readonly every: { readonly days: number } | { readonly weeks: number }
  /** When the layer is in force, at most 32, which do not overlap. Always, unless given. */
  readonly windows?: readonly WeeklyWindow[]
}

/** A part of every week. */
export interface WeeklyWindow {
  /** The days on which it starts. */
  readonly days: readonly Weekday[]
  /** The local time at which it starts, `00:00` to `23:59`. */
  readonly from: string
  /** The local time at which it ends, up to `24:00`; on the next day where that is not after `from`. */
  readonly until: string
}

/** A day of the week. */
export type Weekday = 'monday' | 'tuesday' | 'wednesday' | 'thursday' | 'friday' | 'saturday' | 'sunday'

/**
 * Someone who takes over, helps out or drops out, in [`from`, `until`) of epoch milliseconds. With both, `add` stands in
 * for `remove`, and only while that one is on call.
 */
export interface OnCallOverride {
  readonly from: number
  readonly until: number
  readonly remove?: string
  readonly add?: string
}

export const WEEKDAYS = [
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
  'sunday'
] as const satisfies readonly Weekday[]

/** A group that is in 16 rotations at once is a list, and a rotation among more than 100 never comes round. */
const LAYERS_MAX = 16
const PARTICIPANTS_MAX = 100
/** Four for each day of the week, and some to spare. */
const WINDOWS_MAX = 32
/** Ten years of two a week. Each is looked at for every answer. */
const OVERRIDES_MAX = 1_000

/** The end of the year 9999. */
const INSTANT_MAX = 253_402_300_799_999
export const instantSchema: z.ZodType<number> = z.int().min(0).max(INSTANT_MAX)

const MINUTES_PER_DAY = 1_440
const MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY

const timeSchema = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'must be a time from 00:00 to 23:59')
const endSchema = z.string().regex(/^(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)$/, 'must be a time from 00:00 to 24:00')
const dateSchema = z.string().refine(isDate, 'must be a date from 1970-01-01 to 9999-12-31, as 2026-01-05')

const windowSchema: z.ZodType<WeeklyWindow> = z.strictObject({
  days: z.array(z.enum(WEEKDAYS)).min(1).max(WEEKDAYS.length),
  from: timeSchema,
  until: endSchema
})

const layerSchema: z.ZodType<OnCallLayer> = z
  .strictObject({
    name: identitySchema,
    participants: z.array(identitySchema).min(1).max(PARTICIPANTS_MAX),
    startsOn: dateSchema,
    handoffAt: timeSchema,
    every: z.union([
      z.strictObject({ days: z.int().min(1).max(366) }),
      z.strictObject({ weeks: z.int().min(1).max(52) })
    ]),
    windows: z.array(windowSchema).min(1).max(WINDOWS_MAX).exactOptional()
  })
  .check(({ value, issues }) => {
    const at = overlapping(value.windows ?? [])
    if (at === undefined) return
    issues.push({ code: 'custom', input: value.windows, path: ['windows', at], message: 'overlaps another window' })
  })

const overrideSchema: z.ZodType<OnCallOverride> = z
  .strictObject({
    from: instantSchema,
    until: instantSchema,
    remove: identitySchema.exactOptional(),
    add: identitySchema.exactOptional()
  })
  .refine(({ from, until }) => from < until, { path: ['until'], message: 'must be after from' })
  .refine(({ remove, add }) => remove !== add, 'must remove or add someone, not the same person')

/** What a schedule must be, whoever its people are. */
export const scheduleSchema: z.ZodType<OnCallSchedule> = z
  .strictObject({
    zone: z.string().refine(isZone, 'must be the IANA name of a time zone, such as Europe/Berlin'),
    layers: z.array(layerSchema).min(1).max(LAYERS_MAX),
    overrides: z.array(overrideSchema).max(OVERRIDES_MAX).exactOptional()
  })
  .check(({ value, issues }) => {
    for (const [at, { name }] of value.layers.entries()) {
      if (value.layers.findIndex((layer) => layer.name === name) === at) continue
      issues.push({ code: 'custom', input: name, path: ['layers', at, 'name'], message: 'is used twice' })
    }
    for (const at of contradicting(value.overrides ?? [])) {
      const message = 'overlaps another override of the same person'
      issues.push({ code: 'custom', input: value.overrides, path: ['overrides', at], message })
    }
  })

/** Minutes from midnight of a time that the schema has let pass. */
export function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3))
}

/** How long a window is by the clock: up to the same time of the next day. */
export function lengthOf({ from, until }: WeeklyWindow): number {
  const length = minutesOf(until) - minutesOf(from)
  return length > 0 ? length : length + MINUTES_PER_DAY
}

/** The number of a date that the schema has let pass. */
export function dayNumberOf(date: string): number {
  return dayOf(Number(date.slice(0, 4)), Number(date.slice(5, 7)), Number(date.slice(8)))
}

function isDate(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false
  try {
    return dayNumberOf(text) >= 0
  } catch {
    return false
  }
}

/** The index of a window that begins before an earlier one of the week has ended. */
function overlapping(windows: readonly WeeklyWindow[]): number | undefined {
  const parts = windows
    .flatMap((window, at) =>
      window.days.map((day) => {
        const start = WEEKDAYS.indexOf(day) * MINUTES_PER_DAY + minutesOf(window.from)
        return { at, start, end: start + lengthOf(window) }
      })
    )
    .toSorted((one, other) => one.start - other.start)
  const first = parts[0]
  if (first === undefined) return undefined
  const following = [...parts.slice(1), { ...first, start: first.start + MINUTES_PER_WEEK }]
  return parts.flatMap(({ end }, n) => {
    const next = following[n]
    return next !== undefined && next.start < end ? [next.at] : []
  })[0]
}

/** The indices of overrides that overlap an earlier one about the same person: their order would decide. */
function contradicting(overrides: readonly OnCallOverride[]): readonly number[] {
  const spans = new Map<string, { readonly from: number; readonly until: number }[]>()
  const found: number[] = []
  for (const [at, { from, until, remove, add }] of overrides.entries()) {
    for (const person of [remove, add]) {
      if (person === undefined) continue
      const known = spans.get(person) ?? []
      if (known.some((span) => span.from < until && from < span.until)) found.push(at)
      known.push({ from, until })
      spans.set(person, known)
    }
  }
  return [...new Set(found)]
}
