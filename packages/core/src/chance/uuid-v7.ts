import type { Platform } from '../platform.ts'

/** The counter's 12 bits (`rand_a`) and the room it starts with, so that a burst within one millisecond fits. */
const COUNTER_LIMIT = 0x1000
const COUNTER_START_LIMIT = 0x800

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/**
 * Makes UUIDs of version 7 (RFC 9562 §5.7) that sort in the order they were made, within one source: the counter of
 * §6.2 method 1 orders those of one millisecond, and a wall clock that jumps back does not take the ids back with it.
 */
export function createIdSource(platform: Platform): () => string {
  // Not below the epoch: a machine whose clock stands before 1970 still gets ids of the right form.
  let lastAt = 0
  let counter = 0
  const tail = new Uint8Array(8)
  return () => {
    const now = platform.clock.now()
    if (now > lastAt) {
      lastAt = now
      counter = platform.random.below(COUNTER_START_LIMIT)
    } else {
      counter += 1
      if (counter === COUNTER_LIMIT) {
        lastAt += 1
        counter = platform.random.below(COUNTER_START_LIMIT)
      }
    }
    platform.random.fill(tail)
    const time = lastAt.toString(16).padStart(12, '0')
    const middle = (0x7000 | counter).toString(16)
    tail[0] = 0x80 | ((tail[0] as number) & 0x3f)
    let random = ''
    for (const byte of tail) random += HEX[byte]
    return `${time.slice(0, 8)}-${time.slice(8)}-${middle}-${random.slice(0, 4)}-${random.slice(4)}`
  }
}
