import { minorUnitDigits } from './currency.ts'
import { divideRounded, type Rounding } from './rounding.ts'

/**
 * Where Stripe's amounts are not ISO 4217's minor units (https://docs.stripe.com/currencies): the ariary has none there;
 * krona and shilling keep two digits, which must be 00; three-digit currencies must end in 0.
 */
const STRIPE_DIGITS: Readonly<Record<string, number>> = { MGA: 0, ISK: 2, UGX: 2 }

/** An amount as Stripe's API takes it. */
export interface StripeAmount {
  readonly amount: bigint
  /** What Stripe cannot be told, in our minor units: to be kept, or shown. 0n but for MGA and three-digit currencies. */
  readonly remainder: bigint
}

/** Says an amount in minor units to Stripe. Throws `UNKNOWN_CURRENCY`. */
export function stripeAmount(minorUnits: bigint, currency: string, rounding: Rounding): StripeAmount {
  const digits = minorUnitDigits(currency)
  const theirs = STRIPE_DIGITS[currency] ?? digits
  if (theirs >= digits && digits < 3) return { amount: minorUnits * 10n ** BigInt(theirs - digits), remainder: 0n }
  // Of MGA the two digits go; of three digits the last one must be 0.
  const step = digits === 3 ? 10n : 10n ** BigInt(digits - theirs)
  const steps = divideRounded(minorUnits, step, rounding)
  return { amount: digits === 3 ? steps * step : steps, remainder: minorUnits - steps * step }
}
