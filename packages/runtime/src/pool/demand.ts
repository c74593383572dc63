import type { Clock } from '@enablement/core'
import { quantile, type Samples, samples } from './samples.ts'

/** How many sandboxes to keep ready. */
export interface Demand {
  claimed(): void
  /** A sandbox took so long to start. */
  started(elapsedMs: number): void
  /** Looks again; once a second. Gives the new target. */
  tick(): number
  readonly target: number
}

/** Arrivals remembered: a window of them is a window of time, shorter the busier the pool. */
const ARRIVALS_KEPT = 512
const ARRIVALS_WINDOW_MS = 10_000
/** What arrives while a sandbox starts must find another one, and half as many more for luck. */
const HEADROOM = 1.5
/** Until something was measured: a Node process and a half. */
const WARM_MS_ASSUMED = 50
const QUIET_MS = 60_000

/** target = ceil(arrivals per ms x p95 of starting x 1.5), between `min` and `max`; up by steps, down after a quiet minute. */
export function demandOf(clock: Clock, { min, max }: { readonly min: number; readonly max: number }): Demand {
  const arrivals: Samples = samples(ARRIVALS_KEPT)
  const starts: Samples = samples(64)
  const stepUp = Math.max(1, Math.ceil((max - min) / 4))
  let target = min
  let neededAt = clock.monotonic()

  const wanted = (): number => {
    const now = clock.monotonic()
    const recent = arrivals.values().filter((at) => at > now - ARRIVALS_WINDOW_MS)
    // A full window of arrivals that is younger than ten seconds says how fast they come all the same.
    const spanMs = recent.length === ARRIVALS_KEPT ? Math.max(1, now - Math.min(...recent)) : ARRIVALS_WINDOW_MS
    const warmMs = quantile(starts.values(), 0.95) ?? WARM_MS_ASSUMED
    return Math.min(max, Math.max(min, Math.ceil((recent.length / spanMs) * warmMs * HEADROOM)))
  }

  return {
    get target() {
      return target
    },
    claimed: () => arrivals.add(clock.monotonic()),
    started: (elapsedMs) => starts.add(elapsedMs),
    tick() {
      const now = clock.monotonic()
      const next = wanted()
      if (next >= target) {
        neededAt = now
        target = Math.min(next, target + stepUp)
      } else if (now - neededAt >= QUIET_MS) target -= 1
      return target
    }
  }
}
