import type { Clock } from './clock.ts'

/** A reading of both clocks of the holder's machine, taken just before it asked the store. */
export interface Reading {
  /** Milliseconds of monotonic time. */
  readonly monotonic: number
  /** Epoch milliseconds. */
  readonly wall: number
}

export function read(clock: Clock): Reading {
  return { monotonic: clock.monotonic(), wall: clock.now() }
}

/** How much time has passed, and whether the clocks agree on it. */
export interface Elapsed {
  /** The larger of the two accounts. */
  readonly ms: number
  /** What the monotonic clock says. */
  readonly monotonicMs: number
}

/**
 * The time since `since`, counted cautiously. A machine that sleeps stops its monotonic clock (Linux, macOS) while the
 * store's goes on; its wall clock shows the gap on waking. So whichever clock says more is believed: a wall clock set
 * forward costs a lease that would have held, which is safe, and one set back is overruled by the monotonic clock.
 * Only a sleep during which somebody sets the wall clock back by as much goes unseen.
 */
export function elapsedSince(since: Reading, clock: Clock): Elapsed {
  const monotonicMs = clock.monotonic() - since.monotonic
  return { ms: Math.max(monotonicMs, clock.now() - since.wall), monotonicMs }
}
