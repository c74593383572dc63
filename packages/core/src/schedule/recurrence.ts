import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'

/** When something is due, again and again. */
export interface Recurrence {
  /**
   * What the instants are, in words or as a cron expression, time zone included. It is stored: where it differs from
   * what the database knows, the next instant is worked out anew, so that a changed rule does not wait for an instant
   * of the old one.
   */
  readonly rule: string
  /**
   * The first instant after `after` (epoch milliseconds), or undefined when there is none any more. Pure: the same
   * answer for the same `after`, in every process. This is where a cron library comes in, with its time zones.
   */
  next(after: number): number | undefined
}

/**
 * What becomes of the instants of a recurrence that nobody was there for. An instant counts as missed when it is claimed
 * more than `graceMs` late; up to then it is fired as if nothing had been.
 */
export type Misfire =
  /** Missed instants are not fired. */
  | { readonly policy: 'skip'; readonly graceMs: number }
  /** One is fired, the first of them, for all that were missed; the next one is the first that lies ahead. */
  | { readonly policy: 'once'; readonly graceMs: number }
  /**
   * All are fired, one after the other, each under an id of its own, as far back as `catchUpMs`: the bound on what a
   * long downtime can bring about. Older ones are not.
   */
  | { readonly policy: 'all'; readonly catchUpMs: number }

/** The longest period and the longest grace: a hundred years. Far above what a native timer takes. */
const SPAN_MAX_MS = 3_155_760_000_000
/** More often than this is a loop, not a schedule. */
const PERIOD_MIN_MS = 10

/** The last instant that a `Date` can show, and so the last that a rule may give. */
const INSTANT_MAX = 8_640_000_000_000_000

const spanSchema = z.int().min(0).max(SPAN_MAX_MS)

export const misfireSchema: z.ZodType<Misfire> = z.discriminatedUnion('policy', [
  z.strictObject({ policy: z.literal('skip'), graceMs: spanSchema }),
  z.strictObject({ policy: z.literal('once'), graceMs: spanSchema }),
  z.strictObject({ policy: z.literal('all'), catchUpMs: spanSchema })
])

export const instantSchema: z.ZodType<number> = z.int().min(0).max(INSTANT_MAX)

const everySchema: z.ZodType<{ readonly periodMs: number; readonly offsetMs: number }> = z
  .strictObject({ periodMs: z.int().min(PERIOD_MIN_MS).max(SPAN_MAX_MS), offsetMs: spanSchema })
  .refine(({ periodMs, offsetMs }) => offsetMs < periodMs, { path: ['offsetMs'], message: 'must be below the period' })

/**
 * Every `periodMs`, counted from the epoch (plus `offsetMs`, 0 unless given), so that all processes agree on the
 * instants and no delay adds up: `every(hours(1))` is each full hour, UTC. Integer milliseconds. Throws
 * `INVALID_OPTIONS`.
 */
export function every(periodMs: number, options: { readonly offsetMs?: number } = {}): Recurrence {
  const { offsetMs = 0, ...rest } = options
  parseOptions(everySchema, 'every', { periodMs, offsetMs, ...rest })
  return {
    rule: offsetMs === 0 ? `every ${periodMs} ms` : `every ${periodMs} ms, offset ${offsetMs} ms`,
    next: (after) => (Math.floor((after - offsetMs) / periodMs) + 1) * periodMs + offsetMs
  }
}

/** The first instant of `recurrence` after `after`, checked: a rule is somebody else's code. Throws `INVALID_OPTIONS`. */
export function instantAfter(recurrence: Recurrence, after: number): number | undefined {
  const next: unknown = recurrence.next(after)
  if (next === undefined) return undefined
  if (typeof next === 'number' && Number.isSafeInteger(next) && next > after && next <= INSTANT_MAX) return next
  const message = `the instant after ${after} must be an integer of milliseconds above it, or undefined, not ${typeof next === 'number' ? next : typeof next}`
  throw new CoreError('INVALID_OPTIONS', `the rule "${recurrence.rule}" cannot be followed: ${message}`, {
    subject: 'recurrence.next',
    issues: [{ path: 'next', message }]
  })
}

/** What to do with an instant that was claimed. */
export interface Firing {
  /** The instant to fire now, which may be a later one than was claimed; undefined to fire none. */
  readonly fire: number | undefined
  /** When it is due after that; undefined for never again. */
  readonly next: number | undefined
}

/**
 * Decides about the instant `dueAt` of a recurrence, claimed at `claimedAt`, both by the store's clock. One that has been
 * begun before stays what it is, however late it has become since: an attempt may have had its effect.
 */
export function firingOf(
  { recurrence, misfire }: { readonly recurrence: Recurrence; readonly misfire: Misfire },
  { dueAt, claimedAt, begun }: { readonly dueAt: number; readonly claimedAt: number; readonly begun: boolean }
): Firing {
  const lateMs = claimedAt - dueAt
  const toleratedMs = misfire.policy === 'all' ? misfire.catchUpMs : misfire.graceMs
  if (misfire.policy === 'once' && lateMs > toleratedMs)
    return { fire: dueAt, next: instantAfter(recurrence, claimedAt) }
  if (begun || lateMs <= toleratedMs) return { fire: dueAt, next: instantAfter(recurrence, dueAt) }
  const first = instantAfter(recurrence, claimedAt - toleratedMs - 1)
  if (first === undefined || first > claimedAt) return { fire: undefined, next: first }
  return { fire: first, next: instantAfter(recurrence, first) }
}

/** Of an instant that was revived: it is fired however late it is, and nothing of what was fired since is fired again. */
export function firingOfRevived(
  recurrence: Recurrence,
  { dueAt, resumeAt }: { readonly dueAt: number; readonly resumeAt: number }
): Firing {
  return { fire: dueAt, next: resumeAt > dueAt ? resumeAt : instantAfter(recurrence, dueAt) }
}
