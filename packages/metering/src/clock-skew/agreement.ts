/** An interval that a source says the truth lies in, ends inclusive. */
export interface Claim {
  readonly low: number
  readonly high: number
}

/** A point on which the largest number of sources agree. */
export interface Agreement {
  readonly at: number
  /** The distance to the farthest end of a claim that holds it: the truth is within, if one of those is right. */
  readonly error: number
  /** How many of them. */
  readonly agreeing: number
}

/**
 * The middle of the smallest interval that lies in the largest number of claims: Marzullo's algorithm (K. Marzullo,
 * Stanford, 1984; the intersection of NTP, RFC 5905 §11.2.1, comes from it). Where fewer than half of all sources are
 * wrong and more than half agree, one of those who agree is right, so that the point is within its error.
 *
 * It weighs each source by the error that it admits to. A mean does not (one bad source moves it anywhere), nor does a
 * median or the deviation from one: to them an HTTP date of whole seconds counts as much as a database's milliseconds.
 * Undefined for no claims.
 */
export function agreementOf(claims: readonly Claim[]): Agreement | undefined {
  const edges = claims
    .flatMap(({ low, high }) => [
      { at: low, opens: true },
      { at: high, opens: false }
    ])
    // Claims that only touch agree: of two edges in one place the opening one comes first.
    .sort((a, b) => a.at - b.at || Number(b.opens) - Number(a.opens))
  let open = 0
  let best = { low: 0, high: 0, agreeing: 0 }
  for (const [index, { at, opens }] of edges.entries()) {
    open += opens ? 1 : -1
    const high = edges[index + 1]?.at ?? at
    const isSmaller = open === best.agreeing && high - at < best.high - best.low
    if (opens && (open > best.agreeing || isSmaller)) best = { low: at, high, agreeing: open }
  }
  if (best.agreeing === 0) return undefined
  const at = (best.low + best.high) / 2
  const error = Math.max(
    ...claims.filter((claim) => holds(claim, at)).map(({ low, high }) => Math.max(at - low, high - at))
  )
  return { at, error, agreeing: best.agreeing }
}

/** Whether a source agrees on a point. */
export function holds({ low, high }: Claim, at: number): boolean {
  return low <= at && at <= high
}
