import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import {
  CHUNK_BYTES,
  CHUNK_WORDS,
  CHUNKS_PER_PAGE,
  PAGE_BYTES,
  type PristineMemory,
  ZERO_CHUNK,
  ZERO_PAGE
} from './pristine-memory.ts'
import type { ImageFault } from './worker-protocol.ts'

/*
 * The image of a VM: a header of 104 bytes, then zstd of [chunk indexes, u32 each][chunks of 4 KiB]. A chunk is there
 * where the VM's memory differs from that of a pristine one, as the exclusive or of both; what neither uses is left out
 * as well: most of a heap's slack, and all of its untouched stack. Numbers are little-endian.
 *
 *  0 magic 'EQJI'   4 version u16   6 evaluation u16 (0 none, 1 outer promise, 2 inner promise)
 *  8 SHA-256 of the engine's bytes   40 SHA-256 of the pristine memory
 * 72 pages of 64 KiB   76 stack pointer   80 runtime   84 context   88 the prelude's function   92 the evaluation's promise
 * 96 chunk count   100 the word that counts allocated bytes
 */
const MAGIC = 0x494a5145
const VERSION = 2
const HEADER_BYTES = 104

/** Level 1 takes 4 ms a megabyte less than level 3 for a tenth more bytes: a sandbox at its limit must stop fast. */
const ZSTD_LEVEL = 1

/** Where things lie in a VM's memory. */
export interface EnginePointers {
  readonly stackPointer: number
  readonly runtime: number
  readonly context: number
  /** The value box of the prelude's function. */
  readonly dispatcher: number
  /** The word in which the engine counts the bytes it has allocated. */
  readonly memoryCount: number
  /** The value box of the evaluation's promise, 0 for none, and whether it is the evaluation's own or its value. */
  readonly evaluation: number
  readonly inner: boolean
}

/** An image taken apart. */
export interface EngineImage {
  readonly pointers: EnginePointers
  readonly pages: number
  /** Makes a pristine VM's memory, grown to `pages`, that of the image. */
  applyTo(memory: ArrayBuffer): void
}

/** Packs what `memory` holds beyond `pristine`. */
export function encodeImage(
  memory: ArrayBuffer,
  pointers: EnginePointers,
  engineHash: Uint8Array,
  pristine: PristineMemory
): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(memory)
  const chunks: number[] = []
  for (let page = 0; page < bytes.length / PAGE_BYTES; page += 1) {
    const start = page * PAGE_BYTES
    if (page >= pristine.pages && bytes.compare(ZERO_PAGE, 0, PAGE_BYTES, start, start + PAGE_BYTES) === 0) continue
    for (let index = page * CHUNKS_PER_PAGE; index < (page + 1) * CHUNKS_PER_PAGE; index += 1) {
      const at = index * CHUNK_BYTES
      const words = pristine.chunk(index)
      const before = words === undefined ? ZERO_CHUNK : new Uint8Array(words.buffer)
      if (bytes.compare(before, 0, CHUNK_BYTES, at, at + CHUNK_BYTES) !== 0) chunks.push(index)
    }
  }
  const words = new Uint32Array(memory)
  const body = new Uint32Array(chunks.length * (1 + CHUNK_WORDS))
  for (const [n, index] of chunks.entries()) {
    body[n] = index
    const chunk = body.subarray(chunks.length + n * CHUNK_WORDS, chunks.length + (n + 1) * CHUNK_WORDS)
    chunk.set(words.subarray(index * CHUNK_WORDS, (index + 1) * CHUNK_WORDS))
    const before = pristine.chunk(index)
    if (before !== undefined) exclusiveOr(chunk, 0, before)
  }
  const packed = zstdCompressSync(body, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } })
  // An ArrayBuffer of its own, so that it can be handed to the other thread without a copy.
  const image = new Uint8Array(HEADER_BYTES + packed.length)
  const header = Buffer.from(image.buffer, 0, HEADER_BYTES)
  header.writeUInt32LE(MAGIC, 0)
  header.writeUInt16LE(VERSION, 4)
  header.writeUInt16LE(pointers.evaluation === 0 ? 0 : pointers.inner ? 2 : 1, 6)
  header.set(engineHash, 8)
  header.set(pristine.hash, 40)
  header.writeUInt32LE(bytes.length / PAGE_BYTES, 72)
  header.writeUInt32LE(pointers.stackPointer, 76)
  header.writeUInt32LE(pointers.runtime, 80)
  header.writeUInt32LE(pointers.context, 84)
  header.writeUInt32LE(pointers.dispatcher, 88)
  header.writeUInt32LE(pointers.evaluation, 92)
  header.writeUInt32LE(chunks.length, 96)
  header.writeUInt32LE(pointers.memoryCount, 100)
  image.set(packed, HEADER_BYTES)
  return image
}

/**
 * Takes an image apart without trusting it: nothing is unpacked before its size is known to fit `capBytes`, and every
 * index and pointer lies inside the memory that the header declares.
 */
export function decodeImage(
  image: Uint8Array,
  engineHash: Uint8Array,
  pristine: PristineMemory,
  capBytes: number
): EngineImage | ImageFault {
  const corrupt = (reason: string): ImageFault => ({ fault: 'corrupt', reason })
  const header = Buffer.from(image.buffer, image.byteOffset, image.byteLength)
  if (header.length < HEADER_BYTES) return corrupt(`${header.length} bytes are too few for an image`)
  if (header.readUInt32LE(0) !== MAGIC) return corrupt('it does not begin like an image')
  if (header.readUInt16LE(4) !== VERSION) return corrupt(`format version ${header.readUInt16LE(4)} is not ${VERSION}`)
  if (header.compare(engineHash, 0, 32, 8, 40) !== 0) return { fault: 'foreign' }
  if (header.compare(pristine.hash, 0, 32, 40, 72) !== 0) return { fault: 'foreign' }
  const pages = header.readUInt32LE(72)
  const memoryBytes = pages * PAGE_BYTES
  if (memoryBytes > capBytes) return { fault: 'too-large', bytes: memoryBytes, limitBytes: capBytes }
  if (pages < pristine.pages) return corrupt('its memory is smaller than that of an empty VM')
  const chunkCount = header.readUInt32LE(96)
  if (chunkCount > pages * CHUNKS_PER_PAGE) return corrupt('it declares more chunks than its memory has')
  const evaluationKind = header.readUInt16LE(6)
  const pointers: EnginePointers = {
    stackPointer: header.readUInt32LE(76),
    runtime: header.readUInt32LE(80),
    context: header.readUInt32LE(84),
    dispatcher: header.readUInt32LE(88),
    memoryCount: header.readUInt32LE(100),
    evaluation: header.readUInt32LE(92),
    inner: evaluationKind === 2
  }
  const { stackPointer, runtime, context, dispatcher, memoryCount, evaluation } = pointers
  const inside = (pointer: number): boolean => pointer > 0 && pointer < memoryBytes
  if (![stackPointer, runtime, context, dispatcher, memoryCount].every(inside)) {
    return corrupt('a pointer lies outside its memory')
  }
  if (evaluationKind > 2 || (evaluationKind === 0 ? evaluation !== 0 : !inside(evaluation))) {
    return corrupt('its evaluation lies outside its memory')
  }
  const bodyBytes = chunkCount * (4 + CHUNK_BYTES)
  let body: Buffer
  try {
    // One piece of output instead of many that are joined: that alone halves the time.
    const size = { chunkSize: Math.max(64, bodyBytes + 1), maxOutputLength: bodyBytes + 1 }
    body = zstdDecompressSync(image.subarray(HEADER_BYTES), size)
  } catch {
    return corrupt('its body does not unpack to the size that it declares')
  }
  if (body.length !== bodyBytes) return corrupt(`its body has ${body.length} bytes instead of ${bodyBytes}`)
  // A copy unless its words are aligned, as those of a buffer of its own are.
  const aligned = body.byteOffset % 4 === 0 ? body : Uint8Array.from(body)
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, bodyBytes / 4)
  let previous = -1
  for (let n = 0; n < chunkCount; n += 1) {
    const index = words[n] as number
    if (index <= previous || index >= pages * CHUNKS_PER_PAGE) return corrupt('its chunks are out of order')
    previous = index
  }
  return {
    pointers,
    pages,
    applyTo(memory) {
      const target = new Uint32Array(memory)
      for (let n = 0; n < chunkCount; n += 1) {
        const index = words[n] as number
        const chunk = words.subarray(chunkCount + n * CHUNK_WORDS, chunkCount + (n + 1) * CHUNK_WORDS)
        if (pristine.chunk(index) === undefined) target.set(chunk, index * CHUNK_WORDS)
        else exclusiveOr(target, index * CHUNK_WORDS, chunk)
      }
    }
  }
}

function exclusiveOr(target: Uint32Array, at: number, chunk: Uint32Array): void {
  for (let n = 0; n < CHUNK_WORDS; n += 1) target[at + n] = (target[at + n] as number) ^ (chunk[n] as number)
}
