import { type Random, randomFrom, systemClock, systemRandom } from '@enablement/core'
import type { LinearMemory } from './engine-exports.ts'
import { sfc32 } from './sfc32.ts'

/** The guest's wall clock. */
interface GuestClock {
  /** What time the host says it is: epoch milliseconds. */
  set(wallAt: number): void
  /** With a fraction. */
  now(): number
}

/** What a VM sees of the outside, bound when it gets its guest. */
export interface World {
  clock: GuestClock
  random: Random
  /** 16 bytes that a later world of this guest goes on drawing from. */
  chance: () => Uint8Array<ArrayBuffer>
}

/** A world at `wallAt`, whose chance comes from 16 bytes of seed, or from the machine. */
export function guestWorld(wallAt: number, seed: Uint8Array, randomness: 'seeded' | 'host' = 'seeded'): World {
  const source = sfc32(seed)
  const random = randomness === 'host' ? systemRandom : randomFrom(source.next)
  return { clock: guestClock(wallAt), random, chance: source.state }
}

/** A world without time or chance, the same at every call. */
export function stillWorld(): World {
  const source = sfc32(new Uint8Array(16))
  return { clock: { set: () => undefined, now: () => 0 }, random: randomFrom(source.next), chance: source.state }
}

/** The host's wall time, carried on between messages by this thread's monotonic clock. */
function guestClock(wallAt: number): GuestClock {
  let base = wallAt
  let since = systemClock.monotonic()
  return {
    set(at) {
      base = at
      since = systemClock.monotonic()
    },
    now: () => base + (systemClock.monotonic() - since)
  }
}

/** The system calls of the engine, answered by the world as it is at the time of the call. */
export function wasiOf(world: World): (memory: LinearMemory) => Record<string, (...args: never[]) => number> {
  return (memory) => ({
    clock_time_get(_clock: number, _precision: bigint, out: number) {
      new DataView(memory.buffer).setBigUint64(out, BigInt(Math.trunc(world.clock.now() * 1_000)) * 1_000n, true)
      return 0
    },
    random_get(out: number, bytes: number) {
      const drawn = new Uint8Array(bytes)
      world.random.fill(drawn)
      new Uint8Array(memory.buffer, out, bytes).set(drawn)
      return 0
    },
    // The engine writes diagnostics to stdout and stderr of the host; nothing of a guest belongs there.
    fd_write(_fd: number, vectors: number, count: number, writtenOut: number) {
      const view = new DataView(memory.buffer)
      let written = 0
      for (let at = 0; at < count; at += 1) written += view.getUint32(vectors + at * 8 + 4, true)
      view.setUint32(writtenOut, written, true)
      return 0
    }
  })
}
