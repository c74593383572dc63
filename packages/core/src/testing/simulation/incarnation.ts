import type { Random } from '../../chance/random.ts'
import { type Clock, refuseNaN, type Timer } from '../../time/clock.ts'
import type { TrueTime } from './true-time.ts'

/** How the clocks of a machine differ from true time. The wall clock's part of it outlives the process. */
export interface MachineClock {
  /** Milliseconds that both clocks count in a true one. */
  readonly rate: number
  wallAheadMs: number
}

/**
 * One life of a node's process, from its start to its crash. Whatever happens to the process goes through `plan` or `run`:
 * after the crash nothing does, and while it stands still what comes has to wait.
 */
export class Incarnation {
  readonly node: string
  readonly number: number
  readonly random: Random
  readonly clock: Clock
  alive = true
  readonly #time: TrueTime
  readonly #bornAt: number
  readonly #machine: MachineClock
  /** What came while it stood still; undefined while it runs. */
  #waiting: [string, () => void][] | undefined
  #resumesAt = 0
  #firedAt = 0

  constructor(options: {
    readonly node: string
    readonly number: number
    readonly time: TrueTime
    readonly machine: MachineClock
  }) {
    const { node, number, time, machine } = options
    this.node = node
    this.number = number
    this.#time = time
    this.#bornAt = time.nowMs
    this.#machine = machine
    this.random = time.chance(`${node}/${number}`)
    this.clock = {
      now: () => Math.floor(time.startAt + time.nowMs * machine.rate + machine.wallAheadMs),
      monotonic: () => this.#monotonic(),
      startTimer: (delayMs, onElapsed) => this.#startTimer(delayMs, onElapsed)
    }
  }

  /** Plans what happens to the process in `delayMs` of true time. */
  plan(delayMs: number, label: string, run: () => void): Timer {
    return this.#time.timer(delayMs, `${this.node} ${label}`, () => this.run(label, run))
  }

  /** Does what happens to the process now: at once, later when it stands still, never when it is gone. */
  run(label: string, run: () => void): void {
    if (!this.alive) return
    if (this.#waiting !== undefined) this.#waiting.push([label, run])
    else run()
  }

  /**
   * The process stands still, as in a long collection of garbage or under SIGSTOP; its clocks go on. Of pauses that overlap
   * the one that ends last counts.
   */
  pause(durationMs: number): void {
    if (!this.alive) return
    this.#resumesAt = Math.max(this.#resumesAt, this.#time.nowMs + durationMs)
    if (this.#waiting !== undefined) return
    this.#waiting = []
    this.#planResumption()
  }

  #planResumption(): void {
    this.#time.plan(this.#resumesAt - this.#time.nowMs, `${this.node} resumes`, () => {
      if (this.#time.nowMs < this.#resumesAt) return this.#planResumption()
      const waiting = this.#waiting ?? []
      this.#waiting = undefined
      for (const [label, run] of waiting) this.plan(0, label, run)
    })
  }

  #monotonic(): number {
    // Rounding must not show a timer before its time.
    return Math.max(this.#firedAt, (this.#time.nowMs - this.#bornAt) * this.#machine.rate)
  }

  #startTimer(delayMs: number, onElapsed: () => void): Timer {
    refuseNaN(delayMs)
    const waitMs = Math.max(0, delayMs)
    const dueAt = this.#monotonic() + waitMs
    let cancelled = false
    const timer = this.plan(waitMs / this.#machine.rate, 'timer', () => {
      // It may have been cancelled while it waited for a process that stood still.
      if (cancelled) return
      this.#firedAt = Math.max(this.#firedAt, dueAt)
      onElapsed()
    })
    return {
      cancel() {
        cancelled = true
        timer.cancel()
      }
    }
  }
}
