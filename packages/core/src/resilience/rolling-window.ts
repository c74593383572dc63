import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Clock } from '../time/clock.ts'

/** Calls of one kind in a row, or of one slice of time: the form in which a window is kept and restored. */
export interface WindowSlice {
  /** How long before the window was written the slice began; 0 in windows that know no time. */
  readonly ageMs: number
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/** The recent calls, and how many of them failed or were slow. A call can be both. */
export interface RollingWindow {
  /** Takes in one more call, and lets go of those that it pushes out or that time has. */
  record(call: { readonly failed: boolean; readonly slow?: boolean }): void
  /** What is in the window now. */
  totals(): WindowTotals
  clear(): void
}

export interface WindowTotals {
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/** What a circuit breaker keeps its calls in. The sums are those of the last `record`, `refresh` or `clear`. */
export interface CallWindow extends WindowTotals {
  /** Gives whether anything in it speaks against the callee, which is whether limits need be looked at. */
  record(failed: boolean, slow: boolean): boolean
  /** Lets go of what time has pushed out. */
  refresh(): void
  clear(): void
  /** The calls, oldest first. */
  slices(): WindowSlice[]
  /** Puts back calls that were written `sinceMs` ago, those that are still recent. */
  restore(slices: readonly WindowSlice[], sinceMs: number): void
}

/** Which calls are recent. */
export type RollingWindowOptions =
  /** The last `size` calls, however long ago: 1 to 10,000, one byte each. */
  | { readonly kind: 'count'; readonly size: number }
  /**
   * Those of the last `samplingMs`. Time is cut into `slices` (10 unless given, as many as in Polly; at most 100) that
   * leave as a whole, so a call counts for between `samplingMs` less one slice and `samplingMs`.
   */
  | { readonly kind: 'time'; readonly samplingMs: number; readonly slices?: number }

/** A call is evidence for at most a day: what was wrong yesterday is not what is wrong now. */
export const samplingMsSchema = z.number().min(1).max(86_400_000)
export const sizeSchema = z.int().min(1).max(10_000)

const rollingWindowOptions: z.ZodType<RollingWindowOptions> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('count'), size: sizeSchema }),
  z.strictObject({
    kind: z.literal('time'),
    samplingMs: samplingMsSchema,
    slices: z.int().min(1).max(100).exactOptional()
  })
])

/** A window over calls. Time is monotonic, and passes whether or not calls are recorded. Throws `INVALID_OPTIONS`. */
export function createRollingWindow(options: RollingWindowOptions & { readonly platform?: Platform }): RollingWindow {
  const { platform = systemPlatform, ...rest } = options
  const rule = parseOptions(rollingWindowOptions, 'createRollingWindow', rest)
  const window =
    rule.kind === 'count' ? new CountWindow(rule.size) : new TimeWindow(platform.clock, rule.samplingMs, rule.slices)
  return {
    record: ({ failed, slow = false }) => window.record(failed, slow),
    totals() {
      window.refresh()
      const { calls, failures, slow } = window
      return { calls, failures, slow }
    },
    clear: () => window.clear()
  }
}

const SLICES = 10
const FAILED = 1
const SLOW = 2

/** Failures since the last success. Slow calls are calls like any other. */
export class ConsecutiveWindow implements CallWindow {
  failures = 0
  readonly slow = 0

  get calls(): number {
    return this.failures
  }

  record(failed: boolean): boolean {
    if (failed) this.failures += 1
    else if (this.failures > 0) this.failures = 0
    return failed
  }

  refresh(): void {}

  clear(): void {
    this.failures = 0
  }

  slices(): WindowSlice[] {
    const { failures } = this
    return failures === 0 ? [] : [{ ageMs: 0, calls: failures, failures, slow: 0 }]
  }

  restore(slices: readonly WindowSlice[]): void {
    this.failures = slices.reduce((sum, slice) => sum + slice.failures, 0)
  }
}

/** A ring of one byte a call. */
export class CountWindow implements CallWindow {
  calls = 0
  failures = 0
  slow = 0
  readonly #ring: Uint8Array
  #next = 0

  constructor(size: number) {
    this.#ring = new Uint8Array(size)
  }

  record(failed: boolean, slow: boolean): boolean {
    const ring = this.#ring
    const next = this.#next
    if (this.calls === ring.length) {
      const leaving = ring[next] as number
      this.failures -= leaving & FAILED
      this.slow -= leaving >> 1
    } else {
      this.calls += 1
    }
    ring[next] = (failed ? FAILED : 0) | (slow ? SLOW : 0)
    if (failed) this.failures += 1
    if (slow) this.slow += 1
    this.#next = next + 1 === ring.length ? 0 : next + 1
    return this.failures + this.slow > 0
  }

  refresh(): void {}

  clear(): void {
    this.calls = 0
    this.failures = 0
    this.slow = 0
    this.#next = 0
  }

  slices(): WindowSlice[] {
    const found: { ageMs: 0; calls: number; failures: number; slow: number }[] = []
    let before: number | undefined
    for (let at = 0; at < this.calls; at++) {
      const kind = this.#ring[(this.#next - this.calls + at + this.#ring.length) % this.#ring.length] as number
      if (kind !== before) found.push({ ageMs: 0, calls: 0, failures: 0, slow: 0 })
      before = kind
      const last = found.at(-1) as (typeof found)[number]
      last.calls += 1
      last.failures += kind & FAILED
      last.slow += kind >> 1
    }
    return found
  }

  restore(slices: readonly WindowSlice[]): void {
    this.clear()
    // Of a larger window the newest calls are kept, which pass the older ones out of the ring.
    for (const { calls, failures, slow } of slices) {
      for (let at = Math.max(0, calls - this.#ring.length); at < calls; at++) this.record(at < failures, at < slow)
    }
  }
}

/** Sums of slices of time in a ring. What leaves, leaves because of the clock, however few calls there are. */
export class TimeWindow implements CallWindow {
  calls = 0
  failures = 0
  slow = 0
  readonly #clock: Clock
  readonly #sliceMs: number
  readonly #startedAt: number
  readonly #slots: number
  /** Of each slot: calls, failures, slow. */
  readonly #sums: Float64Array
  /** The number of the slice that time has reached. The first has a ring's length of empty ones before it. */
  #reached: number

  constructor(clock: Clock, samplingMs: number, slices = SLICES) {
    this.#clock = clock
    this.#sliceMs = samplingMs / slices
    this.#startedAt = clock.monotonic()
    this.#slots = slices
    this.#sums = new Float64Array(3 * slices)
    this.#reached = slices
  }

  record(failed: boolean, slow: boolean): boolean {
    this.refresh()
    this.#add(this.#reached, 1, failed ? 1 : 0, slow ? 1 : 0)
    return this.failures + this.slow > 0
  }

  refresh(): void {
    const reached = this.#slots + Math.floor((this.#clock.monotonic() - this.#startedAt) / this.#sliceMs)
    if (reached <= this.#reached) return
    if (reached - this.#reached >= this.#slots) this.clear()
    else for (let slice = this.#reached + 1; slice <= reached; slice++) this.#empty(slice)
    this.#reached = reached
  }

  clear(): void {
    this.#sums.fill(0)
    this.calls = 0
    this.failures = 0
    this.slow = 0
  }

  slices(): WindowSlice[] {
    this.refresh()
    const sinceStartMs = this.#clock.monotonic() - this.#startedAt
    const found: WindowSlice[] = []
    for (let slice = this.#reached - this.#slots + 1; slice <= this.#reached; slice++) {
      const [calls = 0, failures = 0, slow = 0] = this.#sums.subarray(3 * (slice % this.#slots))
      const ageMs = sinceStartMs - (slice - this.#slots) * this.#sliceMs
      if (calls > 0) found.push({ ageMs, calls, failures, slow })
    }
    return found
  }

  restore(slices: readonly WindowSlice[], sinceMs: number): void {
    this.refresh()
    this.clear()
    for (const { ageMs, calls, failures, slow } of slices) {
      const back = Math.floor((ageMs + sinceMs) / this.#sliceMs)
      if (back < this.#slots) this.#add(this.#reached - back, calls, failures, slow)
    }
  }

  #add(slice: number, calls: number, failures: number, slow: number): void {
    const at = 3 * (slice % this.#slots)
    const sums = this.#sums
    sums[at] = (sums[at] as number) + calls
    sums[at + 1] = (sums[at + 1] as number) + failures
    sums[at + 2] = (sums[at + 2] as number) + slow
    this.calls += calls
    this.failures += failures
    this.slow += slow
  }

  #empty(slice: number): void {
    const at = 3 * (slice % this.#slots)
    const sums = this.#sums
    this.calls -= sums[at] as number
    this.failures -= sums[at + 1] as number
    this.slow -= sums[at + 2] as number
    sums.fill(0, at, at + 3)
  }
}
