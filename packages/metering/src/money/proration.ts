import { CoreError, type Issue } from '@enablement/core'
import { divideRounded, ROUNDINGS, type Rounding } from './rounding.ts'

/** Amounts and spans up to here are exact as numbers, and so is everything made of them below. */
const INTEGER_MAX = 9_000_000_000_000_000

/**
 * `minorUnits * part / whole`, rounded once: what `part` of a period costs when the whole of it costs `minorUnits`. Exact
 * whatever the size: in safe integers where the product is one, in bigint beyond.
 *
 * `minorUnits` is an integer within +-9e15, `whole` one from 1 to 9e15, and `part` one from 0 to `whole`. Throws
 * `INVALID_OPTIONS` for anything else.
 */
export function prorate(minorUnits: number, part: number, whole: number, rounding: Rounding): number {
  // Comparisons with NaN are false, so the conditions are those that must hold.
  if (
    !(
      Number.isSafeInteger(minorUnits) &&
      Number.isSafeInteger(part) &&
      Number.isSafeInteger(whole) &&
      minorUnits <= INTEGER_MAX &&
      minorUnits >= -INTEGER_MAX &&
      part >= 0 &&
      part <= whole &&
      whole >= 1 &&
      whole <= INTEGER_MAX
    )
  ) {
    throw refused(minorUnits, part, whole)
  }
  const product = minorUnits * part
  if (!Number.isSafeInteger(product)) {
    checkRounding(rounding)
    return Number(divideRounded(BigInt(minorUnits) * BigInt(part), BigInt(whole), rounding))
  }
  const rest = product % whole
  // Divides without remainder, so that the quotient is exact; `+ 0` makes an integer of -0.
  const towardsZero = (product - rest) / whole + 0
  if (rest === 0) return checkRounding(rounding, towardsZero)
  const away = product < 0 ? towardsZero - 1 : towardsZero + 1
  // Half of the rest against half of the whole, without doubling either out of the safe integers.
  const size = rest < 0 ? -rest : rest
  const other = whole - size
  switch (rounding) {
    case 'up':
      return away
    case 'down':
      return towardsZero
    case 'ceiling':
      return product < 0 ? towardsZero : away
    case 'floor':
      return product < 0 ? away : towardsZero
    case 'half-up':
      return size >= other ? away : towardsZero
    case 'half-down':
      return size > other ? away : towardsZero
    case 'half-even':
      if (size === other) return towardsZero % 2 === 0 ? towardsZero : away
      return size > other ? away : towardsZero
    default:
      return checkRounding(rounding, towardsZero)
  }
}

/** A mode that is misspelt must not pass where nothing had to be rounded, and fail on the next day. */
function checkRounding(rounding: Rounding, answer = 0): number {
  if (ROUNDINGS.includes(rounding)) return answer
  throw invalid([{ path: 'rounding', message: `must be one of ${ROUNDINGS.join(', ')}` }])
}

function refused(minorUnits: number, part: number, whole: number): CoreError<'INVALID_OPTIONS'> {
  const isWithin = (value: number, min: number, max: number): boolean =>
    Number.isSafeInteger(value) && value >= min && value <= max
  const issues: Issue[] = []
  if (!isWithin(minorUnits, -INTEGER_MAX, INTEGER_MAX)) {
    issues.push({ path: 'minorUnits', message: 'must be an integer within +-9e15' })
  }
  if (!isWithin(whole, 1, INTEGER_MAX)) issues.push({ path: 'whole', message: 'must be an integer from 1 to 9e15' })
  else if (!isWithin(part, 0, whole)) issues.push({ path: 'part', message: 'must be an integer from 0 to the whole' })
  return invalid(issues)
}

function invalid(issues: readonly Issue[]): CoreError<'INVALID_OPTIONS'> {
  const summary = issues.map(({ path, message }) => `${path}: ${message}`).join('; ')
  return new CoreError('INVALID_OPTIONS', `prorate refused its options: ${summary}`, { subject: 'prorate', issues })
}
