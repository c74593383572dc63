import { MessagingError } from '../messaging-error.ts'

/**
 * Reads a binary record front to back, big-endian. Every length is checked before it is used, and bytes left over at
 * the end are refused, so that one record has one encoding. Throws `RECORD_DAMAGED`.
 */
export class ByteReader {
  readonly #record: string
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  /** `record` names what is read in errors. */
  constructor(record: string, bytes: Uint8Array) {
    this.#record = record
    // A plain view: the `slice` of a Buffer would not copy.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  /** One byte that must be 0 or 1. */
  flag(): boolean {
    const value = this.u8()
    if (value > 1) throw this.damaged(`a flag of ${value} at byte ${this.#at - 1}`)
    return value === 1
  }

  /** `length` bytes, as an array of its own. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }

  /** A byte that must have the given value: a version or a suite. */
  expect(value: number, what: string): void {
    const found = this.u8()
    if (found !== value) throw this.damaged(`${what} ${found}, where ${value} is known`)
  }

  end(): void {
    const left = this.#bytes.length - this.#at
    if (left !== 0) throw this.damaged(`${left} bytes too many`)
  }

  damaged(reason: string): MessagingError<'RECORD_DAMAGED'> {
    return new MessagingError('RECORD_DAMAGED', `${this.#record} does not decode: ${reason}`, {
      record: this.#record,
      reason
    })
  }

  #take(length: number): number {
    const at = this.#at
    if (at + length > this.#bytes.length) {
      throw this.damaged(`it ends at byte ${this.#bytes.length}, inside a field of ${length} bytes at ${at}`)
    }
    this.#at = at + length
    return at
  }
}
