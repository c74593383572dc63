import { type BucketState, NEVER } from './counter.ts'

/**
 * The whole part, rounded down. Exact for integers within 2^53: a quotient that is none is further from the next integer
 * than doubles of its size are from each other, so that the division is never rounded up to it.
 */
function quotient(dividend: number, divisor: number): number {
  return Math.floor(dividend / divisor)
}

/** Filled up to `now`, at its own rate. A clock that was set back fills nothing until it is there again. */
export function bucketAt(state: BucketState, now: number): BucketState {
  const { refill, perMs, at, remainder, used, held } = state
  if (now <= at) return state
  const spent = used - held
  const periods = quotient(now - at, perMs)
  // So many whole periods fill it, and would be a product beyond 9e15 if there were many more.
  if (periods >= -quotient(-spent, refill)) return { ...state, at: now, remainder: 0, used: held }
  const parts = ((now - at) % perMs) * refill + remainder
  const back = periods * refill + quotient(parts, perMs)
  if (back >= spent) return { ...state, at: now, remainder: 0, used: held }
  return { ...state, at: now, remainder: parts % perMs, used: used - back }
}

/**
 * When `units` more will have come back since `state.at`, epoch milliseconds; null when so many are not spent, or when that
 * is later than any date.
 */
export function bucketHasBackAt(state: BucketState, units: number): number | null {
  const { refill, perMs, at, remainder, used, held } = state
  if (units > used - held) return null
  if (units <= 0) return at
  const periods = quotient(units, refill)
  if (periods > quotient(NEVER - at, perMs)) return null
  const partsWanted = (units % refill) * perMs - remainder
  const instant = at + periods * perMs - quotient(-partsWanted, refill)
  return instant < NEVER ? instant : null
}
