import type { Platform } from '../platform.ts'
import { seededRandom } from './seeded-random.ts'
import { type VirtualClock, virtualClock } from './virtual-clock.ts'

/** A platform on which nothing happens by itself. */
export interface TestPlatform extends Platform {
  readonly clock: VirtualClock
}

/** A virtual clock at `now` and chance from `seed` (1 unless given). */
export function testPlatform(options: { readonly seed?: number; readonly now?: number } = {}): TestPlatform {
  const { seed = 1, now } = options
  return { clock: virtualClock(now === undefined ? {} : { now }), random: seededRandom(seed) }
}
