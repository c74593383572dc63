import { NEVER } from '../quota/counter.ts'
import type { HoldRecord } from '../quota/hold-record.ts'

/** The open holds of one tenant, by key, with the instants at which they expire. */
export class OpenHolds {
  readonly #expiresAt = new Map<string, number>()
  /** None expires before this instant. */
  #nextAt = NEVER

  get size(): number {
    return this.#expiresAt.size
  }

  has(key: string): boolean {
    return this.#expiresAt.has(key)
  }

  /** Takes down how the hold stands now. */
  note(key: string, { end, expiresAt }: HoldRecord): void {
    if (end !== undefined) {
      this.#expiresAt.delete(key)
      return
    }
    this.#expiresAt.set(key, expiresAt)
    this.#nextAt = Math.min(this.#nextAt, expiresAt)
  }

  /** The holds whose time is over at `now`, those that expired first, at most `limit`. Looks at all only if there may be one. */
  overdue(now: number, limit: number): readonly string[] {
    if (now < this.#nextAt) return []
    const open = [...this.#expiresAt].sort(([, a], [, b]) => a - b)
    return open.flatMap(([key, expiresAt]) => (expiresAt <= now ? [key] : [])).slice(0, limit)
  }

  /** Finds out when the next one expires, after those whose time was over at `now` have ended. */
  lookAgain(now: number): void {
    if (now < this.#nextAt) return
    this.#nextAt = NEVER
    for (const expiresAt of this.#expiresAt.values()) this.#nextAt = Math.min(this.#nextAt, expiresAt)
  }
}
