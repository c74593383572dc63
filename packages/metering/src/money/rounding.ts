/** How an amount between two minor units is settled. Named as in `decimal.js`, Java and IEEE 754. */
export type Rounding =
  /** Away from zero. */
  | 'up'
  /** Towards zero. */
  | 'down'
  /** Towards positive infinity. */
  | 'ceiling'
  /** Towards negative infinity. */
  | 'floor'
  /** To the nearest; a tie away from zero. What invoices are commonly expected to do. */
  | 'half-up'
  /** To the nearest; a tie towards zero. */
  | 'half-down'
  /** To the nearest; a tie to the even neighbour, so that ties in a long sum cancel out. Bankers' rounding. */
  | 'half-even'

/** Every mode, for validation. */
export const ROUNDINGS = ['up', 'down', 'ceiling', 'floor', 'half-up', 'half-down', 'half-even'] as const

/** `numerator / denominator`, rounded to an integer. `denominator` is positive. Exact: no step leaves the integers. */
export function divideRounded(numerator: bigint, denominator: bigint, rounding: Rounding): bigint {
  const towardsZero = numerator / denominator
  const rest = numerator % denominator
  if (rest === 0n) return towardsZero
  const negative = numerator < 0n
  const away = towardsZero + (negative ? -1n : 1n)
  const twice = 2n * (negative ? -rest : rest)
  switch (rounding) {
    case 'up':
      return away
    case 'down':
      return towardsZero
    case 'ceiling':
      return negative ? towardsZero : away
    case 'floor':
      return negative ? away : towardsZero
    case 'half-up':
      return twice >= denominator ? away : towardsZero
    case 'half-down':
      return twice > denominator ? away : towardsZero
    case 'half-even':
      if (twice === denominator) return towardsZero % 2n === 0n ? towardsZero : away
      return twice > denominator ? away : towardsZero
  }
}
