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

/** Memory that a writer writes into. */
interface Page {
  readonly bytes: Uint8Array
  readonly view: DataView
}

/** Enough for any record without skipped keys. */
const PAGE_BYTES = 2_048

/** Wiped pages for the next writers: a fresh one costs a microsecond, and every message takes six writers. */
const idle: Page[] = []
const IDLE_MAX = 4

function page(length: number): Page {
  const bytes = new Uint8Array(length)
  return { bytes, view: new DataView(bytes.buffer) }
}

const SPENT = page(0)

/** Writes a binary record front to back, big-endian, into one growing array. */
export class ByteWriter {
  #page: Page = idle.pop() ?? page(PAGE_BYTES)
  #length = 0

  u8(value: number): this {
    this.#reserve(1)
    this.#page.bytes[this.#length] = value
    this.#length += 1
    return this
  }

  u16(value: number): this {
    this.#reserve(2)
    this.#page.view.setUint16(this.#length, value)
    this.#length += 2
    return this
  }

  u32(value: number): this {
    this.#reserve(4)
    this.#page.view.setUint32(this.#length, value)
    this.#length += 4
    return this
  }

  /** An integer of up to 2^53 - 1 in eight bytes. */
  u64(value: number): this {
    return this.u32(Math.floor(value / 0x1_0000_0000)).u32(value % 0x1_0000_0000)
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#page.bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** A text behind its length in bytes, so that two neighbouring texts cannot trade characters. */
  text(value: string): this {
    const encoded = text.encode(value)
    return this.u16(encoded.length).bytes(encoded)
  }

  /** What was written, as an array of its own. The writer is done; its page is wiped, for records hold keys. */
  finish(): Uint8Array {
    const used = this.#page
    const written = used.bytes.slice(0, this.#length)
    used.bytes.fill(0, 0, this.#length)
    if (idle.length < IDLE_MAX && used.bytes.length === PAGE_BYTES) idle.push(used)
    this.#page = SPENT
    this.#length = 0
    return written
  }

  #reserve(more: number): void {
    const { bytes } = this.#page
    if (this.#length + more <= bytes.length) return
    const grown = page(Math.max(bytes.length * 2, this.#length + more))
    grown.bytes.set(bytes)
    bytes.fill(0)
    this.#page = grown
  }
}
