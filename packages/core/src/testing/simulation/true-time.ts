import type { Random } from '../../chance/random.ts'
import { type Clock, refuseNaN, type Timer } from '../../time/clock.ts'
import { seededRandom } from '../seeded-random.ts'
import { EventQueue, type SimulatedEvent } from './event-queue.ts'
import type { Trace } from './trace.ts'

/** The time by which everything else is measured, and what will happen in it. */
export class TrueTime {
  nowMs = 0
  readonly startAt: number
  readonly trace: Trace
  readonly #seed: number
  readonly #queue = new EventQueue()

  constructor(options: { readonly seed: number; readonly startAt: number; readonly trace: Trace }) {
    this.#seed = options.seed
    this.startAt = options.startAt
    this.trace = options.trace
  }

  plan(delayMs: number, label: string, run: () => void): SimulatedEvent {
    return this.#queue.plan(this.nowMs + Math.max(0, delayMs), label, run)
  }

  next(): SimulatedEvent | undefined {
    return this.#queue.next()
  }

  note(text: string): void {
    this.trace.add(`${this.nowMs.toFixed(3)} ${text}`)
  }

  /** Chance of its own for whatever has that name, whoever else draws: the seed and the name decide. */
  chance(name: string): Random {
    // FNV-1a, twice, for 53 bits of seed.
    let low = 0x811c9dc5
    let high = 0x811c9dc5 ^ 0x5bd1e995
    for (const character of `${this.#seed}/${name}`) {
      const code = character.codePointAt(0) as number
      low = Math.imul(low ^ code, 0x01000193)
      high = Math.imul(high ^ code, 0x01000193) ^ (high >>> 15)
    }
    return seededRandom((high >>> 11) * 2 ** 32 + (low >>> 0))
  }

  /** A clock that shows it. `plan` may put the timers elsewhere. */
  clock(
    plan: (delayMs: number, label: string, run: () => void) => Timer = (delayMs, label, run) =>
      this.timer(delayMs, label, run)
  ): Clock {
    return {
      now: () => Math.floor(this.startAt + this.nowMs),
      monotonic: () => this.nowMs,
      startTimer(delayMs, onElapsed) {
        refuseNaN(delayMs)
        return plan(delayMs, 'timer', onElapsed)
      }
    }
  }

  timer(delayMs: number, label: string, run: () => void): Timer {
    const event = this.plan(delayMs, label, run)
    return {
      cancel() {
        event.cancelled = true
      }
    }
  }
}

/** Uniform in [`minMs`, `maxMs`]. */
export const between = (random: Random, minMs: number, maxMs: number): number =>
  minMs + random.float() * (maxMs - minMs)
