import { crc32 } from 'node:zlib'

/*
 * One record, little-endian:
 *
 *    0  crc32     4 bytes   over all that follows, the payload included; begun with the salt of its segment
 *    4  magic     2 bytes
 *    6  type      2 bytes   the caller's, or SEAL_TYPE
 *    8  length    4 bytes   of the payload
 *   12  epoch     4 bytes   of its segment
 *   16  sequence  8 bytes
 *   24  place     4 bytes   how many records of the same write are before it
 *   28  payload
 *
 * The magic and the expected epoch and sequence keep zeros from reading as records (a bare length and checksum take
 * eight zero bytes for an empty one, because crc32 of nothing is 0). The salt keeps out whole records from elsewhere: what
 * an earlier file left on the disk, and a record that someone carries as the payload of another. The place tells which
 * records were written together: a power cut may leave any sectors of the last write and not the others, while what
 * a later write follows had been synced.
 */

/** Bytes before the payload. */
export const RECORD_HEADER_BYTES = 28

const MAGIC = 0x4aa7

/** The type of the empty record that ends a segment whose journal was closed: whatever is before it was complete. */
export const SEAL_TYPE = 0xffff

/** The largest type that a caller may give to a record. */
export const TYPE_MAX = SEAL_TYPE - 1

/** The largest payload that any journal may take, 16 MiB: what a reader must be ready to hold at once. */
export const PAYLOAD_MAX_BYTES = 16_777_216

/** What every record of one segment has in common. */
export interface SegmentKey {
  readonly epoch: number
  readonly salt: number
}

/** Memory that records are written to, and a view of it: a buffer's own calls for 64-bit numbers are slower. */
export interface RecordMemory {
  readonly bytes: Buffer
  readonly view: DataView
}

export function recordMemory(bytes: Buffer): RecordMemory {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}

/** Writes a record at `at` of `target`, which has room for it. The payload is copied. */
export function encodeRecord(
  { bytes, view }: RecordMemory,
  at: number,
  key: SegmentKey,
  record: { readonly type: number; readonly sequence: bigint; readonly place: number; readonly payload: Uint8Array }
): void {
  const { type, sequence, place, payload } = record
  view.setUint16(at + 4, MAGIC, true)
  view.setUint16(at + 6, type, true)
  view.setUint32(at + 8, payload.length, true)
  view.setUint32(at + 12, key.epoch, true)
  view.setBigUint64(at + 16, sequence, true)
  view.setUint32(at + 24, place, true)
  bytes.set(payload, at + RECORD_HEADER_BYTES)
  // Over the copy: the caller may share the payload's memory with a thread that writes to it.
  view.setUint32(at, checksum(bytes, at, RECORD_HEADER_BYTES + payload.length, key), true)
}

/** The record that ends a segment after the record before `sequence`. */
export function encodeSeal(key: SegmentKey, sequence: bigint): Buffer {
  const seal = Buffer.alloc(RECORD_HEADER_BYTES)
  encodeRecord(recordMemory(seal), 0, key, { type: SEAL_TYPE, sequence, place: 0, payload: new Uint8Array() })
  return seal
}

/** What stands at one place of a segment. */
export type Decoded =
  | {
      readonly outcome: 'record'
      readonly type: number
      readonly sequence: bigint
      readonly place: number
      readonly sizeBytes: number
    }
  /** So far it may be a record, of which `sizeBytes` are needed to tell. */
  | { readonly outcome: 'incomplete'; readonly sizeBytes: number }
  | { readonly outcome: 'invalid' }

const INVALID: Decoded = { outcome: 'invalid' }

/**
 * Reads the record at `at` of `bytes`, whose sequence must be in [`sequenceMin`, `sequenceMax`]. Its payload is the
 * `sizeBytes - RECORD_HEADER_BYTES` bytes after the header.
 */
export function decodeRecord(
  bytes: Buffer,
  at: number,
  key: SegmentKey,
  sequenceMin: bigint,
  sequenceMax: bigint
): Decoded {
  if (bytes.length - at < RECORD_HEADER_BYTES) return { outcome: 'incomplete', sizeBytes: RECORD_HEADER_BYTES }
  if (bytes.readUInt16LE(at + 4) !== MAGIC || bytes.readUInt32LE(at + 12) !== key.epoch) return INVALID
  const lengthBytes = bytes.readUInt32LE(at + 8)
  const sequence = bytes.readBigUInt64LE(at + 16)
  if (lengthBytes > PAYLOAD_MAX_BYTES || sequence < sequenceMin || sequence > sequenceMax) return INVALID
  const sizeBytes = RECORD_HEADER_BYTES + lengthBytes
  if (bytes.length - at < sizeBytes) return { outcome: 'incomplete', sizeBytes }
  if (bytes.readUInt32LE(at) !== checksum(bytes, at, sizeBytes, key)) return INVALID
  return {
    outcome: 'record',
    type: bytes.readUInt16LE(at + 6),
    sequence,
    place: bytes.readUInt32LE(at + 24),
    sizeBytes
  }
}

/** The next place at or after `at` where a record may begin, or -1. */
export function nextCandidate(bytes: Buffer, at: number): number {
  const found = bytes.indexOf(MAGIC_BYTES, at + 4)
  return found < 0 ? -1 : found - 4
}

const MAGIC_BYTES = Buffer.from([MAGIC & 0xff, MAGIC >> 8])

const checksum = (bytes: Buffer, at: number, sizeBytes: number, key: SegmentKey): number =>
  crc32(bytes.subarray(at + 4, at + sizeBytes), key.salt)
