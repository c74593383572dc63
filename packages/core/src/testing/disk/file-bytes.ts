/** A change to a file that is not yet durable. */
export type ByteChange =
  | { readonly kind: 'write'; readonly order: number; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly order: number; readonly lengthBytes: number }

/** Bytes that grow and shrink; what was never written reads as zeros. */
export class FileBytes {
  #buffer = Buffer.alloc(0)
  #lengthBytes = 0

  get lengthBytes(): number {
    return this.#lengthBytes
  }

  /** What is in it now: a view, for reading at once. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#lengthBytes)
  }

  write(at: number, bytes: Uint8Array): void {
    const endBytes = at + bytes.length
    if (endBytes > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(endBytes, this.#buffer.length * 2))
      this.view().copy(larger)
      this.#buffer = larger
    }
    this.#buffer.set(bytes, at)
    this.#lengthBytes = Math.max(this.#lengthBytes, endBytes)
  }

  /** Makes it at least so long. */
  extend(lengthBytes: number): void {
    if (lengthBytes > this.#lengthBytes) this.write(lengthBytes - 1, Buffer.alloc(1))
  }

  truncate(lengthBytes: number): void {
    if (lengthBytes > this.#lengthBytes) return this.extend(lengthBytes)
    this.#buffer.fill(0, lengthBytes, this.#lengthBytes)
    this.#lengthBytes = lengthBytes
  }

  apply(change: ByteChange): void {
    if (change.kind === 'write') this.write(change.at, change.bytes)
    else this.truncate(change.lengthBytes)
  }

  copy(): FileBytes {
    const copied = new FileBytes()
    if (this.#lengthBytes > 0) copied.write(0, this.view())
    return copied
  }
}
