import type { Clock, Timer } from '../time/clock.ts'

/** A deadline that can stand in a queue: a link of its list. */
export abstract class QueuedDeadline {
  dueAt = 0
  before: QueuedDeadline | undefined = undefined
  after: QueuedDeadline | undefined = undefined
  queued = false

  /** `lateMs`: how much later than due the timer fired. It has left the queue. */
  abstract onPassed(lateMs: number): void
}

/**
 * Deadlines that are all the same time ahead, and so fall due in the order they were set: a linked list with one timer,
 * for the first of them. Setting one and taking it back is a few pointers while others wait (a timer each costs 310 ns,
 * `AbortSignal.timeout` with a listener 2 µs; research/core.md §1.4).
 *
 * The timer keeps the process alive while anything is in the queue, since somebody awaits it, and there is none when the
 * queue is empty.
 */
export class DeadlineQueue {
  size = 0
  readonly #clock: Clock
  readonly #aheadMs: number
  #first: QueuedDeadline | undefined
  #last: QueuedDeadline | undefined
  #timer: Timer | undefined
  /** When `#timer` fires, or fired. */
  #firesAt = 0
  /** While deadlines are being told that they have passed: what they set off may set new ones. */
  #passing = false

  constructor(clock: Clock, aheadMs: number) {
    this.#clock = clock
    this.#aheadMs = aheadMs
  }

  enter(deadline: QueuedDeadline): void {
    const dueAt = this.#clock.monotonic() + this.#aheadMs
    deadline.dueAt = dueAt
    deadline.before = this.#last
    deadline.queued = true
    if (this.#last === undefined) this.#first = deadline
    else this.#last.after = deadline
    this.#last = deadline
    this.size += 1
    if (this.#timer === undefined && !this.#passing) this.#arm(dueAt, this.#aheadMs)
  }

  leave(deadline: QueuedDeadline): void {
    if (!deadline.queued) return
    deadline.queued = false
    const { before, after } = deadline
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    deadline.before = undefined
    deadline.after = undefined
    this.size -= 1
    // A timer for one that has left fires for nothing at most once, and is then set for the first.
    if (this.size > 0 || this.#timer === undefined) return
    this.#timer.cancel()
    this.#timer = undefined
  }

  #arm(dueAt: number, delayMs: number): void {
    this.#firesAt = dueAt
    this.#timer = this.#clock.startTimer(delayMs, () => this.#strike())
  }

  /** The first deadline has passed, unless it left. One more turn of the loop lets replies in that were there before. */
  #strike(): void {
    const lateMs = Math.max(0, this.#clock.monotonic() - this.#firesAt)
    this.#timer = this.#clock.startTimer(0, () => {
      this.#timer = undefined
      this.#pass(lateMs)
    })
  }

  #pass(lateMs: number): void {
    // Only those that were due when the timer fired: later ones have a turn of their own to come.
    const dueBy = this.#firesAt + lateMs
    this.#passing = true
    while (this.#first !== undefined && this.#first.dueAt <= dueBy) {
      const passed = this.#first
      this.leave(passed)
      passed.onPassed(dueBy - passed.dueAt)
    }
    this.#passing = false
    if (this.#first !== undefined) this.#arm(this.#first.dueAt, this.#first.dueAt - this.#clock.monotonic())
  }
}
