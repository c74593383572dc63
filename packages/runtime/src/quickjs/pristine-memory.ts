import { createHash } from 'node:crypto'

export const PAGE_BYTES = 65_536

/** The unit in which a pristine memory is kept. */
export const CHUNK_BYTES = 4_096
export const CHUNKS_PER_PAGE = PAGE_BYTES / CHUNK_BYTES

export const ZERO_PAGE = Buffer.alloc(PAGE_BYTES)
const ZERO_CHUNK = ZERO_PAGE.subarray(0, CHUNK_BYTES)

/** Where the engine is in it. */
export interface PristinePointers {
  readonly stackPointer: number
  readonly runtime: number
  readonly context: number
}

/**
 * The memory of a VM in which nothing has run: the engine's data, its atoms and its intrinsics, two thirds of what a
 * small guest's memory holds. It follows from the engine's bytes alone, so an image says only where it differs.
 */
export interface PristineMemory {
  readonly pages: number
  /** SHA-256 of what it holds and where. */
  readonly hash: Uint8Array
  readonly pointers: PristinePointers
  /** The bytes of a chunk; zeros beyond the last page. */
  chunk(index: number): Uint8Array
  /** Overwrites all of a memory with it. */
  writeTo(memory: ArrayBuffer): void
  /**
   * As `writeTo`, for the memory of an instance in which nothing has run. Touching only what differs leaves a third of its
   * pages to the system, which takes longer to map them than all else takes.
   */
  writeToNew(memory: ArrayBuffer): void
}

/** Keeps what is not zero in `memory`. */
export function pristineMemory(memory: ArrayBuffer, pointers: PristinePointers): PristineMemory {
  const bytes = Buffer.from(memory)
  const pages = bytes.length / PAGE_BYTES
  const chunks = new Map<number, Uint8Array>()
  const hash = createHash('sha256').update(`${pages} pages`)
  for (let index = 0; index < pages * CHUNKS_PER_PAGE; index += 1) {
    const at = index * CHUNK_BYTES
    if (bytes.compare(ZERO_CHUNK, 0, CHUNK_BYTES, at, at + CHUNK_BYTES) === 0) continue
    const chunk = new Uint8Array(memory.slice(at, at + CHUNK_BYTES))
    chunks.set(index, chunk)
    hash.update(`; ${index}:`).update(chunk)
  }
  /** What the module itself puts where a pristine memory has zeros; the same in every instance. */
  let leftovers: readonly number[] | undefined
  const writeChunks = (target: Uint8Array): void => {
    for (const [index, chunk] of chunks) target.set(chunk, index * CHUNK_BYTES)
  }
  return {
    pages,
    hash: hash.digest(),
    pointers,
    chunk: (index) => chunks.get(index) ?? ZERO_CHUNK,
    writeTo(target) {
      writeChunks(new Uint8Array(target).fill(0))
    },
    writeToNew(target) {
      const written = Buffer.from(target)
      leftovers ??= Array.from({ length: target.byteLength / CHUNK_BYTES }, (_, index) => index).filter((index) => {
        const at = index * CHUNK_BYTES
        return !chunks.has(index) && written.compare(ZERO_CHUNK, 0, CHUNK_BYTES, at, at + CHUNK_BYTES) !== 0
      })
      for (const index of leftovers) written.fill(0, index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
      writeChunks(written)
    }
  }
}
