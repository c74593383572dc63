import { z } from 'zod'
import type { Random } from '../chance/random.ts'

/**
 * How long to wait before trying again, so that those who failed together do not come back together. The names and the
 * formulas are those of Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): with `full` the fewest
 * calls are made, `equal` never waits less than half, `decorrelated` grows from the wait before. `none` is for a single
 * caller.
 */
export interface Backoff {
  readonly jitter: 'full' | 'equal' | 'decorrelated' | 'none'
  /** The longest first wait, or with `decorrelated` the shortest of all. */
  readonly baseMs: number
  /** No wait is longer. */
  readonly maxMs: number
  /** What each wait is multiplied by for the next; 2 unless given, 1 to 10. `decorrelated` triples at most instead. */
  readonly factor?: number
}

export const backoffSchema: z.ZodType<Backoff> = z
  .strictObject({
    jitter: z.enum(['full', 'equal', 'decorrelated', 'none']),
    baseMs: z.number().min(1).max(86_400_000),
    maxMs: z.number().min(1).max(86_400_000),
    factor: z.number().min(1).max(10).exactOptional()
  })
  .refine(({ baseMs, maxMs }) => baseMs <= maxMs, { path: ['maxMs'], message: 'must be at least baseMs' })

const FACTOR = 2
const DECORRELATED_GROWTH = 3

/**
 * The wait after `failures` failed attempts, from 1; `previousMs` is the wait before, `baseMs` or less when there was
 * none. Pure but for the draw from `random`.
 */
export function backoffMs(backoff: Backoff, failures: number, previousMs: number, random: Random): number {
  const { jitter, baseMs, maxMs, factor = FACTOR } = backoff
  if (jitter === 'decorrelated') {
    const reachMs = Math.max(baseMs, previousMs) * DECORRELATED_GROWTH
    return Math.min(maxMs, baseMs + random.float() * (reachMs - baseMs))
  }
  const wholeMs = Math.min(maxMs, baseMs * factor ** (failures - 1))
  if (jitter === 'full') return random.float() * wholeMs
  return jitter === 'equal' ? wholeMs / 2 + (random.float() * wholeMs) / 2 : wholeMs
}
