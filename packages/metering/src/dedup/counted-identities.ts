import type { FirstReceipt } from './repeat.ts'

/** Identities that are counted, those seen last. Exact: what is counted stays counted, so nothing here grows old. */
export class CountedIdentities {
  readonly #max: number
  /** In the order in which they were last seen. */
  readonly #receipts = new Map<string, FirstReceipt>()

  constructor(max: number) {
    this.#max = max
  }

  get(key: string): FirstReceipt | undefined {
    const found = this.#receipts.get(key)
    if (found === undefined) return undefined
    this.#receipts.delete(key)
    this.#receipts.set(key, found)
    return found
  }

  add(key: string, payloadHash: string, receivedAt: number): void {
    this.#receipts.delete(key)
    if (this.#receipts.size >= this.#max) this.#receipts.delete(this.#receipts.keys().next().value as string)
    this.#receipts.set(key, { payloadHash, receivedAt })
  }
}
