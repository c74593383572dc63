import { z } from 'zod'
import { readDecimal } from '../money/decimal-text.ts'
import { divideRounded, type Rounding } from '../money/rounding.ts'
import type { InvoiceLine } from './invoice.ts'

/** A tax on an invoice. */
export interface TaxRule {
  /** What the line is called, such as `VAT 20 %`. */
  readonly name: string
  /** A fraction as plain decimal text: `0.2` for 20 %. From 0 to 1. */
  readonly rate: string
  /** Rounded once on the sum of the lines, or for each line. No default: jurisdictions differ. */
  readonly per: 'invoice' | 'line'
}

/** 20 % is `0.2`; no tax is above the amount itself. */
export const taxRateSchema: z.ZodType<string> = z
  .string()
  .regex(/^(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?)$/, 'must be a fraction from 0 to 1 as plain decimal text, such as 0.2')

export const taxRuleSchema: z.ZodType<TaxRule> = z.strictObject({
  name: z.string().min(1).max(255),
  rate: taxRateSchema,
  per: z.enum(['invoice', 'line'])
})

/** `rate` of an amount, rounded once. */
export function taxOn(minorUnits: bigint, rate: string, rounding: Rounding): bigint {
  const { coefficient, scale } = readDecimal(rate)
  return divideRounded(minorUnits * coefficient, 10n ** BigInt(scale), rounding)
}

/** The tax on lines. Taxes are not taxed, and neither are credits, which are payments. */
export function taxOnLines(lines: readonly InvoiceLine[], { rate, per }: TaxRule, rounding: Rounding): bigint {
  const amounts = lines.flatMap(({ kind, minorUnits }) => (kind === 'tax' || kind === 'credit' ? [] : [minorUnits]))
  const sum = (all: readonly bigint[]): bigint => all.reduce((total, amount) => total + amount, 0n)
  return per === 'invoice'
    ? taxOn(sum(amounts), rate, rounding)
    : sum(amounts.map((amount) => taxOn(amount, rate, rounding)))
}
