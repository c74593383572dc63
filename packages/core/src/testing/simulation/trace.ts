import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/** Lines that are kept to be read when something fails, and how much of each; the hash covers all. */
const TAIL_LINES = 200
const TAIL_CHARACTERS = 500

/** Characters hashed at once. */
const BATCH_CHARACTERS = 16_384

/** What happened, line by line. */
export class Trace {
  readonly #hash = sha256.create()
  readonly #observe: ((line: string) => void) | undefined
  #unhashed = ''
  #tail: string[] = []

  constructor(observe: ((line: string) => void) | undefined) {
    this.#observe = observe
  }

  add(line: string): void {
    this.#unhashed += `${line}\n`
    if (this.#unhashed.length > BATCH_CHARACTERS) this.#flush()
    this.#tail.push(line.slice(0, TAIL_CHARACTERS))
    if (this.#tail.length > 2 * TAIL_LINES) this.#tail = this.#tail.slice(-TAIL_LINES)
    this.#observe?.(line)
  }

  /** The last lines. */
  tail(): readonly string[] {
    return this.#tail.slice(-TAIL_LINES)
  }

  /** SHA-256 of all lines, each with its line feed, as hexadecimal digits. */
  hash(): string {
    this.#flush()
    return bytesToHex(this.#hash.clone().digest())
  }

  #flush(): void {
    this.#hash.update(utf8ToBytes(this.#unhashed))
    this.#unhashed = ''
  }
}
