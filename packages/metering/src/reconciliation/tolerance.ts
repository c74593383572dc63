import { z } from 'zod'
import { DECIMAL_PATTERN, readDecimal } from '../money/decimal-text.ts'

/** What is let pass. A number passes that is off by at most so much, or by at most the ratio of what was processed. */
export interface Tolerance {
  /** None unless given, as all of them. */
  readonly events?: number
  readonly quantity?: bigint
  /** In the currency's minor unit. */
  readonly minorUnits?: bigint
  /** Plain decimal text in [0, 1]: `0.001` is a tenth of a percent. */
  readonly ratio?: string
}

export const toleranceSchema: z.ZodType<Tolerance> = z.strictObject({
  events: z.int().min(0).exactOptional(),
  quantity: z.bigint().min(0n).exactOptional(),
  minorUnits: z.bigint().min(0n).exactOptional(),
  ratio: z
    .string()
    .regex(DECIMAL_PATTERN, 'must be plain decimal text such as 0.001')
    .refine((text) => {
      const { coefficient, scale } = readDecimal(text)
      return coefficient >= 0n && coefficient <= 10n ** BigInt(scale)
    }, 'must be from 0 to 1')
    .exactOptional()
})

/** Whether a difference from `processed` is let pass: exactly, without a division. */
export function isWithin(difference: bigint, processed: bigint, units: bigint, ratio: string): boolean {
  const size = magnitude(difference)
  if (size <= units) return true
  const { coefficient, scale } = readDecimal(ratio)
  return size * 10n ** BigInt(scale) <= coefficient * magnitude(processed)
}

const magnitude = (value: bigint): bigint => (value < 0n ? -value : value)
