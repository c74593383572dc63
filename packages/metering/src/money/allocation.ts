import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { plus, type Ratio, ZERO } from './ratio.ts'
import { divideRounded, type Rounding } from './rounding.ts'

/** Parts of one amount. An invoice has lines by the thousand at most. */
const PARTS_MAX = 100_000

const requestSchema: z.ZodType<{ total: bigint; weights: readonly bigint[] }> = z.strictObject({
  total: z.bigint(),
  weights: z
    .array(z.bigint().min(0n))
    .min(1)
    .max(PARTS_MAX)
    .refine((weights) => weights.some((weight) => weight > 0n), 'must not all be 0')
})

/**
 * Splits `total` (minor units, of any sign) in proportion to `weights`, so that the parts add up to it: each gets its
 * share rounded towards zero, and what is left goes one by one to those with the largest remainders, the first of equals
 * first. Hamilton's method. A weight of 0 gets 0. Throws `INVALID_OPTIONS`: weights are not negative, nor all 0.
 */
export function allocate(total: bigint, weights: readonly bigint[]): bigint[] {
  parseOptions(requestSchema, 'allocate', { total, weights })
  const sum = weights.reduce((all, weight) => all + weight, 0n)
  // As in a mirror for a negative total: a credit is split as the charge was.
  const sign = total < 0n ? -1n : 1n
  const shares = weights.map((weight): Ratio => ({ numerator: sign * total * weight, denominator: sum }))
  return fillUp(shares, sign * total).map((part) => sign * part)
}

/**
 * Rounds amounts so that they add up to their rounded sum: each is rounded down or up to a neighbour, up those with the
 * largest remainders, the first of equals first.
 */
export function roundTogether(amounts: readonly Ratio[], rounding: Rounding): bigint[] {
  const exact = amounts.reduce(plus, ZERO)
  return fillUp(amounts, divideRounded(exact.numerator, exact.denominator, rounding))
}

/** Rounds all down, and as many up as it takes to come to `total`, which is at most one up for each. */
function fillUp(amounts: readonly Ratio[], total: bigint): bigint[] {
  const parts = amounts.map(({ numerator, denominator }) => divideRounded(numerator, denominator, 'floor'))
  let left = total - parts.reduce((all, part) => all + part, 0n)
  if (left === 0n) return parts
  const remainders = amounts.map(({ numerator, denominator }, at) => ({
    at,
    rest: numerator - (parts[at] as bigint) * denominator,
    denominator
  }))
  remainders.sort((a, b) => {
    const difference = b.rest * a.denominator - a.rest * b.denominator
    return difference < 0n ? -1 : difference > 0n ? 1 : a.at - b.at
  })
  for (const { at } of remainders) {
    if (left === 0n) break
    parts[at] = (parts[at] as bigint) + 1n
    left -= 1n
  }
  return parts
}
