import { type Random, randomFrom } from '../chance/random.ts'
import { CoreError } from '../failure/core-error.ts'

/** Words thrown away after seeding, as the generator's author does for two words of seed. */
const WARM_UP_WORDS = 12

/**
 * Chance that repeats itself: the same seed, any safe integer, gives the same draws on every machine. The generator is
 * `sfc32` by Chris Doty-Humphrey (PractRand), seeded the way PractRand does with 64 bits.
 */
export function seededRandom(seed: number): Random {
  if (!Number.isSafeInteger(seed)) {
    const issue = { path: 'seed', message: `${seed} is not a safe integer` }
    throw new CoreError('INVALID_OPTIONS', `seededRandom refused its seed: ${issue.message}`, {
      subject: 'seededRandom',
      issues: [issue]
    })
  }
  let a = 0
  let b = seed | 0
  let c = Math.floor(seed / 4_294_967_296) | 0
  let counter = 1
  const word = (): number => {
    const drawn = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + drawn) | 0
    return drawn >>> 0
  }
  for (let at = 0; at < WARM_UP_WORDS; at++) word()
  return randomFrom(word)
}
