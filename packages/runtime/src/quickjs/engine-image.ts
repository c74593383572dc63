import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { ImageFault } from './worker-protocol.ts'

/*
 * The image of a VM: a header of 80 bytes, then zstd of [chunk indexes, u32 each][chunks of 4 KiB]. Chunks that hold only
 * zeros are left out: most of a heap's slack, and all of its untouched stack. Numbers are little-endian.
 *
 *  0 magic 'EQJI'   4 version u16   6 evaluation u16 (0 none, 1 outer promise, 2 inner promise)
 *  8 SHA-256 of the engine's bytes
 * 40 pages of 64 KiB   44 stack pointer   48 runtime   52 context   56 the prelude's function   60 the evaluation's promise
 * 64 chunk count   68 the word that counts allocated bytes   72 zeros
 */
const MAGIC = 0x494a5145
const VERSION = 1
const HEADER_BYTES = 80
const PAGE_BYTES = 65_536
const CHUNK_BYTES = 4_096
const CHUNKS_PER_PAGE = PAGE_BYTES / CHUNK_BYTES

/** Level 1 takes 4 ms a megabyte less than level 3 for a tenth more bytes: a sandbox at its limit must stop fast. */
const ZSTD_LEVEL = 1

const ZEROS = Buffer.alloc(PAGE_BYTES)
const ZERO_CHUNK = ZEROS.subarray(0, CHUNK_BYTES)

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

/** An image taken apart. `chunk(n)` gives the place and the bytes of chunk n. */
export interface EngineImage {
  readonly pointers: EnginePointers
  readonly pages: number
  readonly chunkCount: number
  chunk(n: number): { readonly offset: number; readonly bytes: Uint8Array }
}

/** Copies what is not zero out of `memory` and packs it. */
export function encodeImage(
  memory: ArrayBuffer,
  pointers: EnginePointers,
  engineHash: Uint8Array
): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(memory)
  const chunks: number[] = []
  for (let page = 0; page < bytes.length; page += PAGE_BYTES) {
    if (bytes.compare(ZEROS, 0, PAGE_BYTES, page, page + PAGE_BYTES) === 0) continue
    for (let at = page; at < page + PAGE_BYTES; at += CHUNK_BYTES) {
      if (bytes.compare(ZERO_CHUNK, 0, CHUNK_BYTES, at, at + CHUNK_BYTES) !== 0) chunks.push(at / CHUNK_BYTES)
    }
  }
  const body = Buffer.allocUnsafe(chunks.length * (4 + CHUNK_BYTES))
  for (const [n, chunk] of chunks.entries()) {
    body.writeUInt32LE(chunk, n * 4)
    bytes.copy(body, chunks.length * 4 + n * CHUNK_BYTES, chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES)
  }
  const packed = zstdCompressSync(body, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } })
  // An ArrayBuffer of its own, so that it can be handed to the other thread without a copy.
  const image = new Uint8Array(HEADER_BYTES + packed.length)
  const header = Buffer.from(image.buffer, 0, HEADER_BYTES)
  header.writeUInt32LE(MAGIC, 0)
  header.writeUInt16LE(VERSION, 4)
  header.writeUInt16LE(pointers.evaluation === 0 ? 0 : pointers.inner ? 2 : 1, 6)
  header.set(engineHash, 8)
  header.writeUInt32LE(bytes.length / PAGE_BYTES, 40)
  header.writeUInt32LE(pointers.stackPointer, 44)
  header.writeUInt32LE(pointers.runtime, 48)
  header.writeUInt32LE(pointers.context, 52)
  header.writeUInt32LE(pointers.dispatcher, 56)
  header.writeUInt32LE(pointers.evaluation, 60)
  header.writeUInt32LE(chunks.length, 64)
  header.writeUInt32LE(pointers.memoryCount, 68)
  image.set(packed, HEADER_BYTES)
  return image
}

/**
 * Takes an image apart without trusting it: nothing is unpacked before its size is known to fit `capBytes`, and every
 * index and pointer lies inside the memory that the header declares.
 */
export function decodeImage(image: Uint8Array, engineHash: Uint8Array, capBytes: number): EngineImage | ImageFault {
  const corrupt = (reason: string): ImageFault => ({ fault: 'corrupt', reason })
  const header = Buffer.from(image.buffer, image.byteOffset, image.byteLength)
  if (header.length < HEADER_BYTES) return corrupt(`${header.length} bytes are too few for an image`)
  if (header.readUInt32LE(0) !== MAGIC) return corrupt('it does not begin like an image')
  if (header.readUInt16LE(4) !== VERSION) return corrupt(`format version ${header.readUInt16LE(4)} is not ${VERSION}`)
  if (header.compare(engineHash, 0, 32, 8, 40) !== 0) return { fault: 'foreign' }
  const pages = header.readUInt32LE(40)
  const memoryBytes = pages * PAGE_BYTES
  if (memoryBytes > capBytes) return { fault: 'too-large', bytes: memoryBytes, limitBytes: capBytes }
  const chunkCount = header.readUInt32LE(64)
  if (chunkCount > pages * CHUNKS_PER_PAGE) return corrupt('it declares more chunks than its memory has')
  const evaluationKind = header.readUInt16LE(6)
  const pointers: EnginePointers = {
    stackPointer: header.readUInt32LE(44),
    runtime: header.readUInt32LE(48),
    context: header.readUInt32LE(52),
    dispatcher: header.readUInt32LE(56),
    memoryCount: header.readUInt32LE(68),
    evaluation: header.readUInt32LE(60),
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
  let previous = -1
  for (let n = 0; n < chunkCount; n += 1) {
    const index = body.readUInt32LE(n * 4)
    if (index <= previous || index >= pages * CHUNKS_PER_PAGE) return corrupt('its chunks are out of order')
    previous = index
  }
  return {
    pointers,
    pages,
    chunkCount,
    chunk: (n) => ({
      offset: body.readUInt32LE(n * 4) * CHUNK_BYTES,
      bytes: body.subarray(chunkCount * 4 + n * CHUNK_BYTES, chunkCount * 4 + (n + 1) * CHUNK_BYTES)
    })
  }
}
