/** An exact number: a fraction with a positive denominator, not necessarily in lowest terms. */
export interface Ratio {
  readonly numerator: bigint
  readonly denominator: bigint
}

export const ZERO: Ratio = { numerator: 0n, denominator: 1n }

export function plus(a: Ratio, b: Ratio): Ratio {
  if (a.denominator === b.denominator) return { numerator: a.numerator + b.numerator, denominator: a.denominator }
  return {
    numerator: a.numerator * b.denominator + b.numerator * a.denominator,
    denominator: a.denominator * b.denominator
  }
}

/** Negative where `a` is less, 0n where they are equal, positive where it is more. */
export function compareRatios(a: Ratio, b: Ratio): bigint {
  return a.numerator * b.denominator - b.numerator * a.denominator
}
