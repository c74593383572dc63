import { CoreError } from '../failure/core-error.ts'

/** Callers who wait for their turn, in the order they came. */
export class WaitingLine {
  readonly #what: string
  readonly #waitingMax: number
  /** A set, because a caller who is called off leaves from the middle. */
  readonly #entries = new Set<() => void>()

  /** At most `waitingMax` wait; `what` names in errors what they wait for. */
  constructor(what: string, waitingMax: number) {
    this.#what = what
    this.#waitingMax = waitingMax
  }

  /**
   * Resolves when the caller's turn has come. Rejects with the signal's reason when it aborts first, and throws
   * `OVERLOADED` when the line is full.
   */
  join(signal: AbortSignal | undefined): Promise<void> {
    const waiting = this.#entries.size
    if (waiting >= this.#waitingMax) {
      throw new CoreError('OVERLOADED', `${waiting} callers already wait for their turn (${this.#what})`, {
        what: this.#what,
        waiting,
        limit: this.#waitingMax
      })
    }
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        this.#entries.delete(enter)
        reject(signal?.reason as Error)
      }
      this.#entries.add(enter)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  /** Lets the first in the line through. Gives false when nobody waits. */
  next(): boolean {
    for (const enter of this.#entries) {
      this.#entries.delete(enter)
      enter()
      return true
    }
    return false
  }
}
