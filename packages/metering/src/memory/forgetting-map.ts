/** Entries looked at for each one that is written: two, so that what is over goes by itself. */
const LOOKED_AT = 2

/** A map whose entries are over at some time, and gone some time after that. */
export class ForgettingMap<Value> {
  readonly #entries = new Map<string, Value>()
  readonly #forgetAt: (value: Value) => number
  /** Goes round and round: an iterator of a map follows what happens to it. */
  #round: Iterator<readonly [string, Value]> = this.#entries.entries()

  constructor(forgetAt: (value: Value) => number) {
    this.#forgetAt = forgetAt
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Value | undefined {
    return this.#entries.get(key)
  }

  set(key: string, value: Value): void {
    this.#entries.set(key, value)
  }

  /** How many of the keys it does not have. */
  missing(keys: Iterable<string>): number {
    let count = 0
    for (const key of keys) if (!this.#entries.has(key)) count += 1
    return count
  }

  /** Looks at two entries for each of `written`, those that were not looked at for longest, and drops those that are over. */
  forget(now: number, written: number): void {
    for (let looks = LOOKED_AT * written; looks > 0; looks--) {
      const { done, value: entry } = this.#round.next()
      if (done === true) this.#round = this.#entries.entries()
      else if (now >= this.#forgetAt(entry[1])) this.#entries.delete(entry[0])
    }
  }
}
