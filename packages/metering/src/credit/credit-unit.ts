import { QUANTITY_MAX } from '../event/usage-event.ts'
import { minorUnitDigits } from '../money/currency.ts'
import { readDecimal, writeDecimal } from '../money/decimal-text.ts'

/** What a wallet counts: a currency, or credits of your own. */
export interface CreditUnit {
  /** `EUR`, or a name of your own such as `credits`. */
  readonly name: string
  /** Digits after the point, 0 to 12. A wallet counts integers of the smallest unit, and keeps the scale it began with. */
  readonly scale: number
}

/** Digits after the point: 9e15 micro-units are still nine thousand million units, and at 12 digits nine thousand. */
export const SCALE_MAX = 12

/** Declared units by name; any other name is a currency, or throws `UNKNOWN_CURRENCY`. */
export function unitOf(name: string, declared: ReadonlyMap<string, CreditUnit>): CreditUnit {
  return declared.get(name) ?? { name, scale: minorUnitDigits(name) }
}

/**
 * Plain decimal text as an integer of the smallest unit, or what is wrong with it. Digits beyond the scale are refused
 * even when they are zero: they say that the sender counts in another unit.
 */
export function readCredits(text: unknown, scale: number, least: 0 | 1): number | string {
  if (typeof text !== 'string') return 'must be decimal text, such as "12.50": floats are not exact'
  if (!/^\d{1,16}(?:\.\d{1,18})?$/.test(text)) return 'must be a plain decimal number of 0 or more'
  const decimal = readDecimal(text)
  if (decimal.scale > scale) return `has ${decimal.scale} digits after the point, and the unit has ${scale}`
  const amount = decimal.coefficient * 10n ** BigInt(scale - decimal.scale)
  if (amount < BigInt(least)) return 'must be more than 0'
  if (amount > BigInt(QUANTITY_MAX)) return `must be at most ${QUANTITY_MAX} of the smallest unit`
  return Number(amount)
}

/** An integer of the smallest unit as decimal text with all digits of the scale. */
export function writeCredits(amount: number, scale: number): string {
  return writeDecimal({ coefficient: BigInt(amount), scale })
}
