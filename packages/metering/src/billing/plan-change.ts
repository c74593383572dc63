import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import type { Calendar, CalendarPeriod } from '../calendar/calendar.ts'
import { localTimeAt } from '../calendar/local-time.ts'
import { periodFinder } from '../calendar/period-finder.ts'
import { usedAtSchema } from '../event/usage-event-schema.ts'
import { minorUnitDigits } from '../money/currency.ts'
import { writeExact } from '../money/decimal-text.ts'
import { prorate } from '../money/proration.ts'
import { ROUNDINGS, type Rounding } from '../money/rounding.ts'
import type { InvoiceLine } from './invoice.ts'
import { amountSchema, type Plan, planSchema } from './plan.ts'
import {
  PRORATION_PROFILES,
  type ProrationProfile,
  type Remainder,
  remainderAfterEnd,
  remainderOf
} from './proration-profile.ts'

/** When a change takes effect, and what it costs. */
export type PlanChangeStrategy =
  /** Now: the unused old is refunded, the remaining new is charged. */
  | 'prorate'
  /** At the end of the period: nothing is refunded, nothing is charged now. */
  | 'next-period'
  /** Now, and a new period begins now: the unused old is refunded, the new is charged in full. */
  | 'immediate-switch'

const STRATEGIES = ['prorate', 'next-period', 'immediate-switch'] as const

/** How a plan's time is divided, and amounts rounded. Conventions differ, so neither has a default. */
export interface ProrationTerms {
  readonly profile: ProrationProfile
  readonly rounding: Rounding
}

/** A subscription to a plan, at an instant. */
export interface PlanUse {
  /** In force until now. */
  readonly from: Plan
  /** Epoch milliseconds. */
  readonly at: number
  /** The period of `from` that `at` lies in: that of its calendar unless given. */
  readonly period?: CalendarPeriod
  /** What was charged for it in the period, before tax: the plan's price unless given. Nothing more is refunded. */
  readonly charged?: number
  /**
   * What is left of the plan's `credits`. A refund is not more than their share of the charge either: who has spent the
   * credits has had what was paid for (polarsource/polar#5826).
   */
  readonly unusedCredits?: number
}

/** What to change, and how. */
export interface PlanChangeRequest extends PlanUse, ProrationTerms {
  readonly to: Plan
  readonly strategy: PlanChangeStrategy
}

/** What a change amounts to. */
export interface PlanChange {
  /** By the price of an average month. */
  readonly kind: 'upgrade' | 'downgrade' | 'lateral'
  readonly strategy: PlanChangeStrategy
  /** From here on the new plan is in force: epoch milliseconds. */
  readonly effectiveAt: number
  /** The new plan with its calendar from here on: that of an immediate switch is anchored at the change. */
  readonly plan: Plan
  /** The new plan's period that `effectiveAt` lies in. */
  readonly period: CalendarPeriod
  readonly currency: string
  /** In the minor unit, both not negative: for the unused part of the old plan, and for what is bought of the new one. */
  readonly refund: number
  readonly charge: number
  /** `charge - refund`: owed if positive, to the customer's credit if negative. */
  readonly net: number
  /** What the next invoice says: the refund first. Lines of nothing are left out. */
  readonly lines: readonly InvoiceLine[]
  /**
   * Where plans come with credits: what is left of the old ones is revoked first, and the new ones are granted then, so
   * that the balance is `granted` (polarsource/polar#9410).
   */
  readonly credits: { readonly revoked: number; readonly granted: number } | undefined
}

/** What to end, and how. */
export interface PlanTerminationRequest extends PlanUse, ProrationTerms {
  /** When the plan began in the period, if not with it: epoch milliseconds. */
  readonly since?: number
}

/** What the end of a subscription amounts to. */
export interface PlanTermination {
  readonly currency: string
  /** Of what was charged in advance. */
  readonly refund: number
  /** What the used part costs, for plans that are charged in arrears. */
  readonly used: number
  readonly lines: readonly InvoiceLine[]
}

/** What a plan costs from an instant to the end of its period. */
export interface PlanCharge {
  readonly period: CalendarPeriod
  readonly charge: number
  readonly line: InvoiceLine
}

const periodSchema = z
  .strictObject({ from: usedAtSchema, to: usedAtSchema })
  .refine(({ from, to }) => from < to, { path: ['to'], message: 'must be after from' })
const terms = { profile: z.enum(PRORATION_PROFILES), rounding: z.enum(ROUNDINGS) }
const use = {
  from: planSchema,
  at: usedAtSchema,
  period: periodSchema.exactOptional(),
  charged: amountSchema.exactOptional(),
  unusedCredits: amountSchema.exactOptional()
}

const isInside = ({ at, period }: { at: number; period?: CalendarPeriod | undefined }): boolean =>
  period === undefined || (at >= period.from && at < period.to)
const INSIDE = { path: ['at'], message: 'must lie in the period' }

const requestSchema: z.ZodType<PlanChangeRequest> = z
  .strictObject({ ...use, ...terms, to: planSchema, strategy: z.enum(STRATEGIES) })
  .refine(isInside, INSIDE)
  .refine(({ from, to }) => from.currency === to.currency, {
    path: ['to', 'currency'],
    message: 'must be that of the old plan: a change does not exchange money'
  })

const terminationSchema: z.ZodType<PlanTerminationRequest> = z
  .strictObject({ ...use, ...terms, since: usedAtSchema.exactOptional() })
  .refine(isInside, INSIDE)
  .refine(({ since, at }) => since === undefined || since <= at, { path: ['since'], message: 'must not be after at' })

const chargeSchema: z.ZodType<ProrationTerms & { plan: Plan; at: number }> = z.strictObject({
  ...terms,
  plan: planSchema,
  at: usedAtSchema
})

/**
 * What a change of plan amounts to. Pure: it writes nothing, and gives the same for the same. Amounts are exact and rounded
 * once each. Throws `INVALID_OPTIONS` and `UNKNOWN_CURRENCY`.
 */
export function planChange(request: PlanChangeRequest): PlanChange {
  const checked = parseOptions(requestSchema, 'planChange', request)
  const { from, to, strategy, profile, rounding, at } = checked
  minorUnitDigits(from.currency)
  const period = periodOf(checked)
  const isLater = strategy === 'next-period'
  const effectiveAt = isLater ? period.to : at
  const plan = strategy === 'immediate-switch' ? { ...to, calendar: anchoredAt(to.calendar, at, profile) } : to

  const refunded = isLater ? undefined : refundOf(checked, remainderOf(profile, from.calendar, period, at))
  const bought = chargeFor(plan, effectiveAt, { profile, rounding }, strategy === 'immediate-switch')
  const refund = refunded?.minorUnits ?? 0
  const lines: InvoiceLine[] = []
  if (refunded !== undefined && refund > 0) {
    lines.push({
      kind: 'proration',
      description: `Unused time on ${from.name}`,
      period: { from: at, to: period.to },
      minorUnits: BigInt(-refund),
      exact: refunded.exact
    })
  }
  const isWhole = bought.charge === plan.minorUnits && bought.period.from === effectiveAt
  if (bought.charge > 0) {
    const { line } = bought
    lines.push(strategy === 'prorate' && !isWhole ? { ...line, kind: 'proration' } : line)
  }
  return {
    kind: kindOf(from, to),
    strategy,
    effectiveAt,
    plan,
    period: bought.period,
    currency: to.currency,
    refund,
    charge: bought.charge,
    net: bought.charge - refund,
    lines,
    credits:
      from.credits === undefined && to.credits === undefined
        ? undefined
        : { revoked: checked.unusedCredits ?? 0, granted: to.credits ?? 0 }
  }
}

/**
 * What the end of a subscription amounts to at once: by days its last day is used, and the divisor is the whole period
 * whenever the plan began in it (`since`). Throws `INVALID_OPTIONS` and `UNKNOWN_CURRENCY`.
 */
export function planTermination(request: PlanTerminationRequest): PlanTermination {
  const checked = parseOptions(terminationSchema, 'planTermination', request)
  const { from, profile, rounding, at, since } = checked
  const period = periodOf(checked)
  const left = remainderAfterEnd(profile, from.calendar, period, at)
  const atStart = remainderOf(profile, from.calendar, period, Math.max(period.from, since ?? period.from))
  const { minorUnits: refund, exact } = refundOf(checked, left)
  const line: InvoiceLine = {
    kind: 'proration',
    description: `Unused time on ${from.name}`,
    period: { from: at, to: period.to },
    minorUnits: BigInt(-refund),
    exact
  }
  return {
    currency: from.currency,
    refund,
    used: prorate(from.minorUnits, Math.max(0, atStart.part - left.part), left.whole, rounding),
    lines: refund === 0 ? [] : [line]
  }
}

/** What a plan costs that begins at `at`, until the end of its period. Throws `INVALID_OPTIONS` and `UNKNOWN_CURRENCY`. */
export function planCharge(request: ProrationTerms & { readonly plan: Plan; readonly at: number }): PlanCharge {
  const { plan, at, ...rest } = parseOptions(chargeSchema, 'planCharge', request)
  return chargeFor(plan, at, rest, false)
}

function periodOf({ from, at, period }: Pick<PlanUse, 'from' | 'at' | 'period'>): CalendarPeriod {
  return period ?? periodFinder(from.calendar).periodAt(at)
}

/** The unused part of what was charged, and no more than was, nor than the unused credits are worth. */
function refundOf(
  { from, charged = from.minorUnits, unusedCredits, rounding }: PlanUse & ProrationTerms,
  { part, whole }: Remainder
): { readonly minorUnits: number; readonly exact: string } {
  const unused = prorate(from.minorUnits, part, whole, rounding)
  const { credits = 0 } = from
  const worth =
    unusedCredits === undefined || credits === 0
      ? charged
      : prorate(charged, Math.min(unusedCredits, credits), credits, 'down')
  const minorUnits = Math.min(unused, charged, worth)
  const exact =
    minorUnits === unused
      ? exactText(-from.minorUnits, part, whole, from.currency)
      : exactText(-minorUnits, 1, 1, from.currency)
  return { minorUnits, exact }
}

function chargeFor(plan: Plan, at: number, { profile, rounding }: ProrationTerms, inFull: boolean): PlanCharge {
  const period = periodFinder(plan.calendar).periodAt(at)
  const { part, whole } = inFull ? { part: 1, whole: 1 } : remainderOf(profile, plan.calendar, period, at)
  const charge = prorate(plan.minorUnits, part, whole, rounding)
  const isWhole = part === whole
  return {
    period,
    charge,
    line: {
      kind: 'plan',
      description: isWhole ? plan.name : `Remaining time on ${plan.name}`,
      period: isWhole ? period : { from: at, to: period.to },
      minorUnits: BigInt(charge),
      exact: exactText(plan.minorUnits, part, whole, plan.currency)
    }
  }
}

function exactText(minorUnits: number, part: number, whole: number, currency: string): string {
  const denominator = BigInt(whole) * 10n ** BigInt(minorUnitDigits(currency))
  return writeExact(BigInt(minorUnits) * BigInt(part), denominator)
}

/** The calendar with a period that begins at `at`: with its day where days are counted. */
function anchoredAt(calendar: Calendar, at: number, profile: ProrationProfile): Calendar {
  const { year, month, day, hour, minute, second, millisecond } = localTimeAt(at, calendar.timeZone)
  const two = (value: number): string => value.toString().padStart(2, '0')
  const date = `${year.toString().padStart(4, '0')}-${two(month)}-${two(day)}`
  if (profile === 'day-inclusive' || profile === 'thirtieth') return { ...calendar, anchor: date }
  const time = `${two(hour)}:${two(minute)}:${two(second)}`
  const fraction = profile === 'millisecond' ? `.${millisecond.toString().padStart(3, '0')}` : ''
  return { ...calendar, anchor: `${date}T${time}${fraction}` }
}

/** By the price of an average Gregorian month: 365.2425 days a year. */
function kindOf(from: Plan, to: Plan): PlanChange['kind'] {
  // Multiplied across, so that nothing is divided: a price over its length against the other over its own.
  const before = BigInt(from.minorUnits) * lengthOf(to.calendar.every)
  const after = BigInt(to.minorUnits) * lengthOf(from.calendar.every)
  return after > before ? 'upgrade' : after < before ? 'downgrade' : 'lateral'
}

/** In units of which a day has 40,000: a year has 14,609,700 and a month a whole number, too. */
function lengthOf(every: Calendar['every']): bigint {
  if ('days' in every) return BigInt(every.days) * 40_000n
  if ('weeks' in every) return BigInt(every.weeks) * 280_000n
  if ('months' in every) return BigInt(every.months) * 1_217_475n
  return BigInt(every.years) * 14_609_700n
}
