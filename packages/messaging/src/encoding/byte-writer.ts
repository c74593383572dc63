const text = new TextEncoder()

/** The bytes of a constant label. */
export function labelBytes(label: string): Uint8Array {
  return text.encode(label)
}

/** Joins parts into one array of its own. */
export function joinBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/** Writes a binary record front to back, big-endian, into one growing array. */
export class ByteWriter {
  #bytes: Uint8Array
  #view: DataView
  #length = 0

  constructor(expectedBytes = 512) {
    this.#bytes = new Uint8Array(expectedBytes)
    this.#view = new DataView(this.#bytes.buffer)
  }

  u8(value: number): this {
    this.#reserve(1)
    this.#bytes[this.#length] = value
    this.#length += 1
    return this
  }

  u16(value: number): this {
    this.#reserve(2)
    this.#view.setUint16(this.#length, value)
    this.#length += 2
    return this
  }

  u32(value: number): this {
    this.#reserve(4)
    this.#view.setUint32(this.#length, value)
    this.#length += 4
    return this
  }

  /** An integer of up to 2^53 - 1 in eight bytes. */
  u64(value: number): this {
    return this.u32(Math.floor(value / 0x1_0000_0000)).u32(value % 0x1_0000_0000)
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** A text behind its length in bytes, so that two neighbouring texts cannot trade characters. */
  text(value: string): this {
    const encoded = text.encode(value)
    return this.u16(encoded.length).bytes(encoded)
  }

  /** What was written, as an array of its own; wipes the writer's buffer, for records hold keys. */
  finish(): Uint8Array {
    const written = this.#bytes.slice(0, this.#length)
    this.#bytes.fill(0)
    return written
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more))
    grown.set(this.#bytes)
    this.#bytes.fill(0)
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}
