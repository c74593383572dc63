import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { CHUNK_BYTES, CHUNKS_PER_PAGE, PAGE_BYTES, type PristineMemory, ZERO_PAGE } from './pristine-memory.ts'
import type { ImageFault } from './worker-protocol.ts'

/*
 * The image of a VM: a header of 112 bytes, then the body: [runs, each its first unit and its count of units, u32][the
 * units of all runs, 256 bytes each]. The runs are where the VM's memory differs from that of a pristine one, which is
 * zero beyond its end: left out are the engine's own data, most of a heap's slack, and all of the untouched stack.
 * Numbers are little-endian.
 *
 *   0 magic 'EQJI'   4 version u16   6 evaluation u8 (0 none, 1 outer promise, 2 inner promise)   7 body u8 (0 plain, 1 zstd)
 *   8 SHA-256 of the engine's bytes   40 SHA-256 of the pristine memory
 *  72 pages of 64 KiB   76 stack pointer   80 runtime   84 context   88 the prelude's function   92 the evaluation's promise
 *  96 the word that counts allocated bytes   100 run count   104 unit count   108 names of the host functions, digested
 */
const MAGIC = 0x494a5145
const VERSION = 3
const HEADER_BYTES = 112
const RUN_BYTES = 8

/** Objects lie scattered: units of 4 KiB would make the image of a small guest twice as large. */
const UNIT_BYTES = 256
const UNITS_PER_CHUNK = CHUNK_BYTES / UNIT_BYTES
const UNITS_PER_PAGE = PAGE_BYTES / UNIT_BYTES

/** Level 1 takes 4 ms a megabyte less than level 3 for a tenth more bytes: a sandbox at its limit must stop fast. */
const ZSTD_LEVEL = 1

/**
 * Bodies up to this size stay plain. Setting up to unpack takes a thread that has just woken 0.4 ms however little there
 * is to unpack, a fifth of a restore; opening and copying the bytes takes a tenth of that.
 */
const PLAIN_MAX_BYTES = 131_072

const PLAIN = 0
const ZSTD = 1

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
  /** Tells the names of the host functions that the guest finds from other names: 32 bits of their SHA-256. */
  readonly functions: number
}

/** An image taken apart. */
export interface EngineImage {
  readonly pointers: EnginePointers
  readonly pages: number
  /** Makes the memory of a pristine VM, grown to `pages`, that of the image. */
  applyTo(memory: ArrayBuffer): void
}

/** Packs what sets `memory` off from `pristine`. */
export function encodeImage(
  memory: ArrayBuffer,
  pointers: EnginePointers,
  engineHash: Uint8Array,
  pristine: PristineMemory
): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(memory)
  const runs = runsOf(bytes, pristine)
  const unitCount = runs.reduce((sum, { units }) => sum + units, 0)
  const body = Buffer.allocUnsafe(runs.length * RUN_BYTES + unitCount * UNIT_BYTES)
  let to = runs.length * RUN_BYTES
  for (const [n, { first, units }] of runs.entries()) {
    body.writeUInt32LE(first, n * RUN_BYTES)
    body.writeUInt32LE(units, n * RUN_BYTES + 4)
    to += bytes.copy(body, to, first * UNIT_BYTES, (first + units) * UNIT_BYTES)
  }
  const packing = body.length <= PLAIN_MAX_BYTES ? PLAIN : ZSTD
  const level = { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }
  const packed = packing === PLAIN ? body : zstdCompressSync(body, level)
  // An ArrayBuffer of its own, so that it can be handed to the other thread without a copy.
  const image = new Uint8Array(HEADER_BYTES + packed.length)
  const header = Buffer.from(image.buffer, 0, HEADER_BYTES)
  header.writeUInt32LE(MAGIC, 0)
  header.writeUInt16LE(VERSION, 4)
  header.writeUInt8(pointers.evaluation === 0 ? 0 : pointers.inner ? 2 : 1, 6)
  header.writeUInt8(packing, 7)
  header.set(engineHash, 8)
  header.set(pristine.hash, 40)
  header.writeUInt32LE(bytes.length / PAGE_BYTES, 72)
  header.writeUInt32LE(pointers.stackPointer, 76)
  header.writeUInt32LE(pointers.runtime, 80)
  header.writeUInt32LE(pointers.context, 84)
  header.writeUInt32LE(pointers.dispatcher, 88)
  header.writeUInt32LE(pointers.evaluation, 92)
  header.writeUInt32LE(pointers.memoryCount, 96)
  header.writeUInt32LE(runs.length, 100)
  header.writeUInt32LE(unitCount, 104)
  header.writeUInt32LE(pointers.functions, 108)
  image.set(packed, HEADER_BYTES)
  return image
}

interface Run {
  /** Its first unit, counted from the start of memory. */
  readonly first: number
  units: number
}

/** Where `bytes` differs from `pristine`: to the unit within its pages, to the chunk beyond them. */
function runsOf(bytes: Buffer, pristine: PristineMemory): Run[] {
  const runs: Run[] = []
  const add = (first: number, units: number): void => {
    const last = runs.at(-1)
    if (last !== undefined && last.first + last.units === first) last.units += units
    else runs.push({ first, units })
  }
  for (let page = 0; page < bytes.length / PAGE_BYTES; page += 1) {
    const beyond = page >= pristine.pages
    const start = page * PAGE_BYTES
    if (beyond && bytes.compare(ZERO_PAGE, 0, PAGE_BYTES, start, start + PAGE_BYTES) === 0) continue
    for (let index = page * CHUNKS_PER_PAGE; index < (page + 1) * CHUNKS_PER_PAGE; index += 1) {
      const chunk = pristine.chunk(index)
      const at = index * CHUNK_BYTES
      if (bytes.compare(chunk, 0, CHUNK_BYTES, at, at + CHUNK_BYTES) === 0) continue
      if (beyond) add(index * UNITS_PER_CHUNK, UNITS_PER_CHUNK)
      else {
        for (let from = 0; from < CHUNK_BYTES; from += UNIT_BYTES) {
          const same = bytes.compare(chunk, from, from + UNIT_BYTES, at + from, at + from + UNIT_BYTES) === 0
          if (!same) add((at + from) / UNIT_BYTES, 1)
        }
      }
    }
  }
  return runs
}

/**
 * Takes an image apart without trusting it: nothing is unpacked before its size is known to fit `capBytes`, and every
 * run and pointer lies inside the memory that the header declares.
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
  const evaluationKind = header.readUInt8(6)
  const pointers: EnginePointers = {
    stackPointer: header.readUInt32LE(76),
    runtime: header.readUInt32LE(80),
    context: header.readUInt32LE(84),
    dispatcher: header.readUInt32LE(88),
    memoryCount: header.readUInt32LE(96),
    evaluation: header.readUInt32LE(92),
    inner: evaluationKind === 2,
    functions: header.readUInt32LE(108)
  }
  const { stackPointer, runtime, context, dispatcher, memoryCount, evaluation } = pointers
  const inside = (pointer: number): boolean => pointer > 0 && pointer < memoryBytes
  if (![stackPointer, runtime, context, dispatcher, memoryCount].every(inside)) {
    return corrupt('a pointer lies outside its memory')
  }
  if (evaluationKind > 2 || (evaluationKind === 0 ? evaluation !== 0 : !inside(evaluation))) {
    return corrupt('its evaluation lies outside its memory')
  }
  const runCount = header.readUInt32LE(100)
  const unitCount = header.readUInt32LE(104)
  if (unitCount > pages * UNITS_PER_PAGE || runCount > unitCount) {
    return corrupt('it declares more than its memory holds')
  }
  const body = unpacked(
    header.subarray(HEADER_BYTES),
    header.readUInt8(7),
    runCount * RUN_BYTES + unitCount * UNIT_BYTES
  )
  if (body === undefined) return corrupt('its body does not unpack to the size that it declares')
  const runs = new DataView(body.buffer, body.byteOffset, runCount * RUN_BYTES)
  let free = 0
  let units = 0
  for (let n = 0; n < runCount; n += 1) {
    const first = runs.getUint32(n * RUN_BYTES, true)
    const count = runs.getUint32(n * RUN_BYTES + 4, true)
    if (first < free || count === 0) return corrupt('its runs are out of order')
    free = first + count
    units += count
  }
  if (free > pages * UNITS_PER_PAGE || units !== unitCount) return corrupt('its runs are not as long as it declares')
  return {
    pointers,
    pages,
    applyTo(memory) {
      const target = new Uint8Array(memory)
      let from = runCount * RUN_BYTES
      for (let n = 0; n < runCount; n += 1) {
        const bytes = runs.getUint32(n * RUN_BYTES + 4, true) * UNIT_BYTES
        target.set(body.subarray(from, from + bytes), runs.getUint32(n * RUN_BYTES, true) * UNIT_BYTES)
        from += bytes
      }
    }
  }
}

/** The body, if it has exactly `bytes` bytes. */
function unpacked(packed: Buffer, packing: number, bytes: number): Buffer | undefined {
  if (packing === PLAIN) return packed.length === bytes ? packed : undefined
  if (packing !== ZSTD) return undefined
  try {
    // One piece of output instead of many that are joined: that alone halves the time.
    const size = { chunkSize: Math.max(64, bytes + 1), maxOutputLength: bytes + 1 }
    const body = zstdDecompressSync(packed, size)
    return body.length === bytes ? body : undefined
  } catch {
    return undefined
  }
}
