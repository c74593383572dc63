import { CoreError } from '../failure/core-error.ts'

/**
 * A source of chance for jitter, sampling, ids and simulation. Never for keys: those come from a crypto provider, so
 * that a seeded test platform cannot make a predictable one.
 */
export interface Random {
  /** A number in [0, 1). */
  float(): number
  /** An integer in [0, `limit`), for an integer `limit` in [1, 2^32]. Throws `INVALID_OPTIONS` for any other. */
  below(limit: number): number
  /** Fills `target` with random bytes and returns it. */
  fill(target: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>
}

/** Words drawn from the operating system at once: a call costs 1.6 µs whatever its size, a cached word a few ns. */
const POOL_WORDS = 256

const pool = new Uint32Array(POOL_WORDS)
let unused = 0

function word(): number {
  if (unused === 0) {
    crypto.getRandomValues(pool)
    unused = POOL_WORDS
  }
  unused -= 1
  return pool[unused] as number
}

/** Turns any source of uniform 32-bit words into a `Random`. */
export function randomFrom(nextWord: () => number): Random {
  return {
    // 53 random bits, as many as a double's mantissa holds.
    float: () => ((nextWord() >>> 5) * 67_108_864 + (nextWord() >>> 6)) / 9_007_199_254_740_992,
    below(limit) {
      // Unchecked, 0 would give NaN and anything above 2^32 would draw for ever.
      if (!(Number.isInteger(limit) && limit >= 1 && limit <= 4_294_967_296)) throw wrongLimit(limit)
      // Words at and above the last whole multiple of `limit` would favour the small remainders; draw again instead.
      const fair = 4_294_967_296 - (4_294_967_296 % limit)
      let drawn = nextWord()
      while (drawn >= fair) drawn = nextWord()
      return drawn % limit
    },
    fill(target) {
      for (let at = 0; at < target.length; at += 4) {
        const drawn = nextWord()
        target[at] = drawn
        target[at + 1] = drawn >>> 8
        target[at + 2] = drawn >>> 16
        target[at + 3] = drawn >>> 24
      }
      return target
    }
  }
}

function wrongLimit(limit: number): CoreError<'INVALID_OPTIONS'> {
  const message = `${limit} is not an integer in [1, 2^32]`
  return new CoreError('INVALID_OPTIONS', `nothing can be drawn below the limit: ${message}`, {
    subject: 'random.below',
    issues: [{ path: 'limit', message }]
  })
}

/** The operating system's randomness. */
export const systemRandom: Random = randomFrom(word)
