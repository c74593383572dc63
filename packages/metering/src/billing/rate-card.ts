import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { identifierSchema } from '../event/usage-event-schema.ts'
import { MeteringError } from '../metering-error.ts'
import { minorUnitDigits } from '../money/currency.ts'
import type { Ratio } from '../money/ratio.ts'
import { ROUNDINGS, type Rounding } from '../money/rounding.ts'
import { METRICS_MAX } from '../usage/totals.ts'
import { currencySchema } from './plan.ts'
import {
  exactPrice,
  LIMITS_ISSUE,
  limitsAreOrdered,
  type PricedUsage,
  priceByTerms,
  quantitySchema,
  type RateTerms,
  termsShape
} from './price.ts'

/** What each metric costs. */
export interface RateCardOptions {
  /** ISO 4217; that of every rate. */
  readonly currency: string
  /** No default: it is a matter of contract and jurisdiction. */
  readonly rounding: Rounding
  readonly metrics: Readonly<Record<string, RateTerms>>
  /** What usage of a metric costs that the card does not name. No default: free by an oversight is expensive. */
  readonly onUnratedMetric: 'bill-at-zero' | 'refuse'
}

/** Prices by metric. */
export interface RateCard {
  readonly currency: string
  readonly rounding: Rounding
  /** The metrics that cost something without usage: a flat price, or a minimum. In code unit order. */
  readonly standing: readonly string[]
  /**
   * Prices a quantity of a metric, rounded once. Throws `INVALID_OPTIONS`, and `UNRATED_METRIC` for a metric that the card
   * does not name, where it is to be refused.
   */
  price(metric: string, quantity: number | bigint): PricedUsage
  /** The price before rounding, in major units. Throws as `price`. */
  exact(metric: string, quantity: number | bigint): Ratio
}

const termsSchema: z.ZodType<RateTerms> = z.strictObject(termsShape).refine(limitsAreOrdered, LIMITS_ISSUE)

const optionsSchema: z.ZodType<RateCardOptions> = z
  .strictObject({
    currency: currencySchema,
    rounding: z.enum(ROUNDINGS),
    metrics: z
      .record(identifierSchema, termsSchema)
      .refine((metrics) => Object.keys(metrics).length <= METRICS_MAX, `must be at most ${METRICS_MAX}`),
    onUnratedMetric: z.enum(['bill-at-zero', 'refuse'])
  })
  .superRefine(({ currency, metrics }, context) => {
    for (const [metric, { rate }] of Object.entries(metrics)) {
      if (rate.currency === currency) continue
      const path = ['metrics', metric, 'rate', 'currency']
      context.addIssue({ code: 'custom', path, message: `must be ${currency}, as the card's` })
    }
  })

/** A rate card. Throws `INVALID_OPTIONS` with the path of every fault, and `UNKNOWN_CURRENCY`. */
export function createRateCard(options: RateCardOptions): RateCard {
  const { currency, rounding, metrics, onUnratedMetric } = parseOptions(optionsSchema, 'createRateCard', options)
  minorUnitDigits(currency)
  const terms = new Map(Object.entries(metrics))
  const unrated: RateTerms = { rate: { unitPrice: '0', currency } }

  const termsOf = (metric: string): RateTerms => {
    const found = terms.get(metric)
    if (found !== undefined) return found
    if (onUnratedMetric === 'bill-at-zero') return unrated
    throw new MeteringError('UNRATED_METRIC', `the rate card has no price for ${metric}`, { metric })
  }
  const checked = (quantity: number | bigint): bigint => BigInt(parseOptions(quantitySchema, 'a quantity', quantity))

  return {
    currency,
    rounding,
    standing: [...terms.keys()].filter((metric) => exactPrice(termsOf(metric), 0n).exact.numerator !== 0n).sort(),
    price: (metric, quantity) => priceByTerms(termsOf(metric), checked(quantity), rounding),
    exact: (metric, quantity) => exactPrice(termsOf(metric), checked(quantity)).exact
  }
}
