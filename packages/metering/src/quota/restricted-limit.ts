import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { DECIMAL_PATTERN, readDecimal } from '../money/decimal-text.ts'
import { type Limit, type LimitNode, limitSchema } from './limit.ts'
import type { Period } from './period.ts'

interface Ratio {
  readonly numerator: bigint
  readonly denominator: bigint
}

const ratioSchema: z.ZodType<string> = z
  .string()
  .refine((text) => DECIMAL_PATTERN.test(text) && isShare(text), 'must be a plain decimal in [0, 1], such as 0.1')

function isShare(text: string): boolean {
  const { coefficient, scale } = readDecimal(text)
  return coefficient >= 0n && coefficient <= 10n ** BigInt(scale)
}

/**
 * A limit with floor(`ratio` × quantity) at every level that has one, exactly: `ratio` is decimal text in [0, 1]. A token bucket fills
 * slower in proportion too. Levels that did not conflict before do not afterwards.
 *
 * Give it the plan's own limit, each time: a limit that was restricted before would be restricted twice. Keep the result,
 * for an enforcer recognises a limit that has not changed by the object. Throws `INVALID_OPTIONS`.
 */
export function restrictLimit(limit: Limit, ratio: string): Limit {
  const { coefficient, scale } = readDecimal(parseOptions(ratioSchema, 'restrictLimit', ratio))
  const by: Ratio = { numerator: coefficient, denominator: 10n ** BigInt(scale) }
  const { name, period, ...top } = parseOptions(limitSchema, 'restrictLimit', limit)
  return { name, period: restrictedPeriod(period, by), ...restrictedNode(top, by) }
}

const scaled = (quantity: number, { numerator, denominator }: Ratio): number =>
  Number((BigInt(quantity) * numerator) / denominator)

function restrictedNode({ quantity, share, children, eachChild }: LimitNode, by: Ratio): LimitNode {
  return {
    ...(quantity === undefined ? {} : { quantity: scaled(quantity, by) }),
    ...(share === undefined ? {} : { share }),
    ...(children === undefined
      ? {}
      : {
          children: Object.fromEntries(
            Object.entries(children).map(([name, child]) => [name, restrictedNode(child, by)])
          )
        }),
    ...(eachChild === undefined ? {} : { eachChild: restrictedNode(eachChild, by) })
  }
}

/** A ten-year span holds any refill that is slower than it. */
const PER_MS_MAX = 315_576_000_000n

function restrictedPeriod(period: Period, by: Ratio): Period {
  if (typeof period !== 'object' || !('refill' in period)) return period
  const { refill, perMs } = period
  const slower = scaled(refill, by)
  if (slower >= 1) return { refill: slower, perMs }
  // Less than a unit in `perMs`: a unit in as much longer, rounded up, so that it is never more than the ratio.
  const top = BigInt(perMs) * by.denominator
  const bottom = BigInt(refill) * by.numerator
  const longer = bottom === 0n ? PER_MS_MAX : (top + bottom - 1n) / bottom
  return { refill: 1, perMs: Number(longer < PER_MS_MAX ? longer : PER_MS_MAX) }
}
