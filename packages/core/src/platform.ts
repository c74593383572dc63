import { type Random, systemRandom } from './chance/random.ts'
import { type Clock, systemClock } from './time/clock.ts'

/**
 * What a package may ask of the world besides its stores: the time and chance. Every factory takes one, so that tests
 * run on a virtual clock and a seed. Key material never comes from here: it comes from a crypto provider.
 */
export interface Platform {
  readonly clock: Clock
  readonly random: Random
}

/** The real clock and the operating system's randomness. */
export const systemPlatform: Platform = { clock: systemClock, random: systemRandom }
