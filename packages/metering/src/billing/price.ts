import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { minorUnitDigits } from '../money/currency.ts'
import { writeDecimal, writeExact } from '../money/decimal-text.ts'
import { compareRatios, type Ratio } from '../money/ratio.ts'
import { divideRounded, ROUNDINGS, type Rounding } from '../money/rounding.ts'
import { chargeOf, clampRatio, priceOf, priceSchema, QUANTITY_BIGINT_MAX, type Rate, rateSchema } from './rate.ts'

/** What goes around a rate: what is free, and the least and the most that a period costs. */
export interface RateTerms {
  readonly rate: Rate
  /** Units that cost nothing; the rate prices those beyond them. None unless given. */
  readonly included?: number | bigint
  /** The least that the line costs in major units, also without usage: plain decimal text. */
  readonly minimum?: string
  /** The most that it costs. */
  readonly maximum?: string
}

/** What to price, and how. */
export interface PricingRequest extends RateTerms {
  /** Units used: a non-negative integer up to 9e15 as a number, or up to 10^30 as a bigint, as totals are. */
  readonly quantity: number | bigint
  /** No default: it is a matter of contract and jurisdiction. */
  readonly rounding: Rounding
}

/** One priced line. */
export interface PricedUsage {
  /** The rounded amount in major units, with as many digits as the currency has: `0.42`. */
  readonly amount: string
  /** The same in minor units: 42n. */
  readonly minorUnits: bigint
  /** The amount before rounding: `0.4216`, or a fraction such as `7/180` where no decimal is finite. */
  readonly exact: string
  readonly currency: string
  readonly quantity: bigint
  /** Packages charged; undefined for other rates. */
  readonly packages: bigint | undefined
}

export const quantitySchema: z.ZodType<number | bigint> = z.union([
  z.number().int().min(0).max(QUANTITY_MAX),
  z.bigint().min(0n).max(QUANTITY_BIGINT_MAX)
])

export const termsShape = {
  rate: rateSchema,
  included: quantitySchema.exactOptional(),
  minimum: priceSchema.exactOptional(),
  maximum: priceSchema.exactOptional()
} as const

/** The issue of a minimum above the maximum. */
export function limitsAreOrdered({ minimum, maximum }: Pick<RateTerms, 'minimum' | 'maximum'>): boolean {
  if (minimum === undefined || maximum === undefined) return true
  return compareRatios(priceOf(minimum, 1n), priceOf(maximum, 1n)) <= 0n
}

export const LIMITS_ISSUE: { path: PropertyKey[]; message: string } = {
  path: ['maximum'],
  message: 'must not be below the minimum'
}

const requestSchema: z.ZodType<PricingRequest> = z
  .strictObject({ quantity: quantitySchema, ...termsShape, rounding: z.enum(ROUNDINGS) })
  .refine(limitsAreOrdered, LIMITS_ISSUE)

/**
 * Prices usage by one line of a rate card. Exact: the price is computed in integers and rounded once, to the currency's
 * minor unit. Throws `INVALID_OPTIONS` and `UNKNOWN_CURRENCY`.
 */
export function priceUsage(request: PricingRequest): PricedUsage {
  const { quantity, rounding, ...terms } = parseOptions(requestSchema, 'priceUsage', request)
  return priceByTerms(terms, BigInt(quantity), rounding)
}

/** As `priceUsage`, for what has been checked. */
export function priceByTerms(terms: RateTerms, quantity: bigint, rounding: Rounding): PricedUsage {
  const { currency } = terms.rate
  const digits = minorUnitDigits(currency)
  const { exact, packages } = exactPrice(terms, quantity)
  const minorUnits = divideRounded(exact.numerator * 10n ** BigInt(digits), exact.denominator, rounding)
  return {
    amount: writeDecimal({ coefficient: minorUnits, scale: digits }),
    minorUnits,
    exact: writeExact(exact.numerator, exact.denominator),
    currency,
    quantity,
    packages
  }
}

/** What a quantity costs by the terms, in major units. */
export function exactPrice(
  { rate, included, minimum, maximum }: RateTerms,
  quantity: bigint
): { readonly exact: Ratio; readonly packages: bigint | undefined } {
  const beyond = quantity - BigInt(included ?? 0)
  const { exact, packages } = chargeOf(rate, beyond < 0n ? 0n : beyond)
  const limit = (text: string | undefined): Ratio | undefined => (text === undefined ? undefined : priceOf(text, 1n))
  return { exact: clampRatio(exact, limit(minimum), limit(maximum)), packages }
}
