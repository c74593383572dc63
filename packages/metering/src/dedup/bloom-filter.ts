import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'

/** How much it remembers. */
export interface BloomFilterOptions {
  /** Keys of a generation: 1,000,000 unless given. It takes 5.25 bytes each, for two generations. */
  readonly capacity?: number
  /** After which time a generation ends although it is not full: a day unless given. */
  readonly rotateMs?: number
  readonly platform?: Platform
}

/** Remembers keys of late without keeping them: never forgets one of the last generation, and sometimes errs. */
export interface BloomFilter {
  /**
   * Whether `key` may have been added in this or the last generation, and adds it. `false` is certain: it was not.
   * `true` is wrong for fewer than 5 of 10,000 new keys, two full generations included.
   */
  testAndAdd(key: string): boolean
}

const CAPACITY = 1_000_000
const ROTATE_MS = 86_400_000

const optionsSchema: z.ZodType<BloomFilterOptions> = z.strictObject({
  capacity: z.int().min(1).max(50_000_000).exactOptional(),
  rotateMs: z.number().min(1_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Bits for each key of a full generation. With the nine probes below some 1 in 7,000 is wrong of one generation; twice
 * that, of two, stays below 5 in 10,000 with room.
 */
const BITS_PER_KEY = 21

/** A key's bits lie in one block of 512, which is one line of the processor's cache: a key costs one miss, not nine. */
const BLOCK_BITS = 512
const WORDS_PER_BLOCK = BLOCK_BITS / 32

/** Keys added between two looks at the clock, which costs as much as a key. */
const KEYS_PER_LOOK = 256

/**
 * A blocked Bloom filter (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007) of two
 * generations: when the younger is full, or its time is over, it becomes the older, and the older makes room. So it never
 * fills up, and a key is remembered for one generation at least. Throws `INVALID_OPTIONS`.
 */
export function createBloomFilter(options: BloomFilterOptions = {}): BloomFilter {
  const parsed = parseOptions(optionsSchema, 'createBloomFilter', options)
  const { capacity = CAPACITY, rotateMs = ROTATE_MS, platform = systemPlatform } = parsed
  return new GenerationalFilter(capacity, rotateMs, platform)
}

class GenerationalFilter implements BloomFilter {
  readonly #blocks: number
  readonly #capacity: number
  readonly #rotateMs: number
  readonly #platform: Platform
  #younger: Int32Array
  #older: Int32Array
  #added = 0
  #untilLook = KEYS_PER_LOOK
  #endsAt: number

  constructor(capacity: number, rotateMs: number, platform: Platform) {
    this.#blocks = Math.ceil((capacity * BITS_PER_KEY) / BLOCK_BITS)
    this.#capacity = capacity
    this.#rotateMs = rotateMs
    this.#platform = platform
    this.#younger = new Int32Array(this.#blocks * WORDS_PER_BLOCK)
    this.#older = new Int32Array(this.#blocks * WORDS_PER_BLOCK)
    this.#endsAt = platform.clock.monotonic() + rotateMs
  }

  testAndAdd(key: string): boolean {
    // Two products a character, of cyrb53 (bryc, public domain). With one, keys that differ little meet far too often.
    let a = 0xdeadbeef | 0
    let b = 0x41c6ce57
    for (let at = 0; at < key.length; at++) {
      const unit = key.charCodeAt(at)
      a = Math.imul(a ^ unit, 0x9e3779b1)
      b = Math.imul(b ^ unit, 0x5f356495)
    }
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35)
    b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35)

    // The high bits of a product choose the block, so that no division is needed.
    const base = Math.floor(((a >>> 0) / 0x1_0000_0000) * this.#blocks) * WORDS_PER_BLOCK
    const younger = this.#younger
    let isNew = false
    // Nine places of nine bits, three from each of three words.
    let word = b
    for (let round = 0; round < 3; round++) {
      for (let shift = 0; shift < 27; shift += 9) {
        const place = (word >>> shift) & (BLOCK_BITS - 1)
        const at = base + (place >>> 5)
        const bit = 1 << (place & 31)
        const held = younger[at] as number
        if ((held & bit) === 0) {
          isNew = true
          younger[at] = held | bit
        }
      }
      word = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d) ^ a
    }
    if (!isNew) return true
    this.#added += 1
    const isKnown = holds(this.#older, base, a, b)
    this.#untilLook -= 1
    if (this.#added >= this.#capacity || this.#untilLook === 0) this.#rotate()
    return isKnown
  }

  #rotate(): void {
    this.#untilLook = KEYS_PER_LOOK
    const now = this.#platform.clock.monotonic()
    if (this.#added < this.#capacity && now < this.#endsAt) return
    const emptied = this.#older.fill(0)
    this.#older = this.#younger
    this.#younger = emptied
    this.#added = 0
    this.#endsAt = now + this.#rotateMs
  }
}

function holds(filter: Int32Array, base: number, a: number, b: number): boolean {
  let word = b
  for (let round = 0; round < 3; round++) {
    for (let shift = 0; shift < 27; shift += 9) {
      const place = (word >>> shift) & (BLOCK_BITS - 1)
      if (((filter[base + (place >>> 5)] as number) & (1 << (place & 31))) === 0) return false
    }
    word = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d) ^ a
  }
  return true
}
