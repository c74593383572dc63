import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { minorUnitDigits } from './currency.ts'
import { DECIMAL_PATTERN, readDecimal, writeDecimal, writeExact } from './decimal-text.ts'
import { divideRounded, ROUNDINGS, type Rounding } from './rounding.ts'

/** A price for each unit, in proportion: half of `per` costs half of `unitPrice`. */
export interface UnitRate {
  /** What `per` units cost in the currency's major unit: plain decimal text, such as `0.0004`. Negative for a rebate. */
  readonly unitPrice: string
  /** How many units that is the price of: 1 unless given. */
  readonly per?: number
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** A price for each package, whole: one unit more than a package costs two packages. */
export interface PackageRate {
  /** What a package costs in the currency's major unit: plain decimal text. */
  readonly packagePrice: string
  readonly packageSize: number
  /** ISO 4217, such as `EUR`. */
  readonly currency: string
}

/** A line of a rate card. */
export type Rate = UnitRate | PackageRate

/** What to price, and how. */
export interface PricingRequest {
  /** Units used: a non-negative integer up to 9e15 as a number, or up to 10^30 as a bigint, as totals are. */
  readonly quantity: number | bigint
  readonly rate: Rate
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
  /** Packages charged; undefined for a price by the unit. */
  readonly packages: bigint | undefined
}

/** No sum of usage comes near; a bound keeps a hostile bigint from becoming minutes of arithmetic. */
const QUANTITY_BIGINT_MAX = 10n ** 30n

const price = z.string().regex(DECIMAL_PATTERN, 'must be plain decimal text such as 0.0004, at most 18 digits a side')
const units = z.number().int().min(1).max(QUANTITY_MAX)
const currency = z.string().regex(/^[A-Z]{3}$/, 'must be three capital letters, such as EUR')

const requestSchema: z.ZodType<PricingRequest> = z.strictObject({
  quantity: z.union([z.number().int().min(0).max(QUANTITY_MAX), z.bigint().min(0n).max(QUANTITY_BIGINT_MAX)]),
  rate: z.union([
    z.strictObject({ unitPrice: price, per: units.default(1), currency }),
    z.strictObject({ packagePrice: price, packageSize: units, currency })
  ]),
  rounding: z.enum(ROUNDINGS)
})

/**
 * Prices usage by one line of a rate card. Exact: the price is computed in integers and rounded once, to the currency's
 * minor unit. Throws `INVALID_OPTIONS` and `UNKNOWN_CURRENCY`.
 */
export function priceUsage(request: PricingRequest): PricedUsage {
  const { quantity: given, rate, rounding } = parseOptions(requestSchema, 'priceUsage', request)
  const quantity = BigInt(given)
  const digits = minorUnitDigits(rate.currency)
  const { text, times, per } = charge(rate, quantity)
  const { coefficient, scale } = readDecimal(text)
  const numerator = times * coefficient
  const denominator = per * 10n ** BigInt(scale)
  const minorUnits = divideRounded(numerator * 10n ** BigInt(digits), denominator, rounding)
  return {
    amount: writeDecimal({ coefficient: minorUnits, scale: digits }),
    minorUnits,
    exact: writeExact(numerator, denominator),
    currency: rate.currency,
    quantity,
    packages: 'packagePrice' in rate ? times : undefined
  }
}

/** The price's text, how many times it is charged, and for how many units it is the price. */
function charge(rate: Rate, quantity: bigint): { text: string; times: bigint; per: bigint } {
  if ('unitPrice' in rate) return { text: rate.unitPrice, times: quantity, per: BigInt(rate.per ?? 1) }
  const packages = divideRounded(quantity, BigInt(rate.packageSize), 'up')
  return { text: rate.packagePrice, times: packages, per: 1n }
}
