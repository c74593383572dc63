/** A decimal number as an integer and a power of ten: 0.0004 is 4 over 10^4. */
export interface Decimal {
  readonly coefficient: bigint
  readonly scale: number
}

/** Plain decimal notation: no exponent, no sign but a minus, no separators. At most 18 digits on each side of the point. */
export const DECIMAL_PATTERN: RegExp = /^-?\d{1,18}(?:\.\d{1,18})?$/

/** Reads text that matches `DECIMAL_PATTERN`. */
export function readDecimal(text: string): Decimal {
  const [whole = '', fraction = ''] = text.split('.')
  return { coefficient: BigInt(whole + fraction), scale: fraction.length }
}

/** Writes `coefficient / 10^scale` with exactly `scale` digits after the point. */
export function writeDecimal({ coefficient, scale }: Decimal): string {
  const digits = (coefficient < 0n ? -coefficient : coefficient).toString().padStart(scale + 1, '0')
  const sign = coefficient < 0n ? '-' : ''
  return scale === 0 ? `${sign}${digits}` : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/**
 * `numerator / denominator` without rounding: a decimal without trailing zeros, or, where none is finite (a price per 60
 * units, say), the reduced fraction, such as `7/180`. `denominator` is positive.
 */
export function writeExact(numerator: bigint, denominator: bigint): string {
  const divisor = gcd(numerator < 0n ? -numerator : numerator, denominator)
  const top = numerator / divisor
  const bottom = denominator / divisor
  // A fraction in lowest terms has a finite decimal when 2 and 5 are the only primes below the line.
  const [afterTwos, twos] = without(bottom, 2n)
  const [afterFives, fives] = without(afterTwos, 5n)
  if (afterFives !== 1n) return `${top}/${bottom}`
  const scale = Math.max(twos, fives)
  return writeDecimal({ coefficient: (top * 10n ** BigInt(scale)) / bottom, scale })
}

function gcd(a: bigint, b: bigint): bigint {
  let [larger, smaller] = [a, b]
  while (smaller !== 0n) [larger, smaller] = [smaller, larger % smaller]
  return larger
}

/** A number divided by `prime` as often as it goes, and how often that was. */
function without(number: bigint, prime: bigint): [rest: bigint, times: number] {
  let rest = number
  let times = 0
  for (; rest % prime === 0n; times++) rest /= prime
  return [rest, times]
}
