import { crc32 } from 'node:zlib'
import type { SegmentKey } from './record-format.ts'

/*
 * A segment is a file that begins with 28 bytes, little-endian, and goes on with records:
 *
 *    0  magic           7 bytes
 *    7  version         1 byte
 *    8  epoch           4 bytes   one per opening of the folder that writes; later ones are larger
 *   12  salt            4 bytes   by chance, one per segment
 *   16  first sequence  8 bytes   of its first record
 *   24  crc32           4 bytes   over the 24 bytes before
 *
 * A file gets its name only when the header is on disk, so that a named file without a header is damage.
 */

/** Bytes before the first record. */
export const SEGMENT_HEADER_BYTES = 28

/** What a segment counts against the journal's bound at the least: the block that a file takes, however short it is. */
export const SEGMENT_FLOOR_BYTES = 4_096

/** Epochs are 32-bit. */
export const EPOCH_MAX = 0xffff_ffff

/** Sequences are 64-bit. */
export const SEQUENCE_MAX = 0xffff_ffff_ffff_ffffn

/** The layout that this version writes and reads. */
export const FORMAT_VERSION = 1

const MAGIC = Buffer.from('ENJOURN', 'latin1')

/** What a segment says of itself. */
export interface SegmentHeader extends SegmentKey {
  readonly firstSequence: bigint
}

/** A segment in the folder. */
export interface Segment extends SegmentHeader {
  readonly name: string
  /** Where the next record would stand: the length of its valid part. */
  readonly endBytes: number
  /** One more than the sequence of its last record. */
  readonly nextSequence: bigint
}

export function encodeSegmentHeader({ epoch, salt, firstSequence }: SegmentHeader): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  MAGIC.copy(header)
  header.writeUInt8(FORMAT_VERSION, 7)
  header.writeUInt32LE(epoch, 8)
  header.writeUInt32LE(salt, 12)
  header.writeBigUInt64LE(firstSequence, 16)
  header.writeUInt32LE(crc32(header.subarray(0, 24)), 24)
  return header
}

/** The header, the number of a later format whose checksum holds, or undefined when it is damaged. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | { readonly version: number } | undefined {
  if (bytes.length < SEGMENT_HEADER_BYTES || !bytes.subarray(0, 7).equals(MAGIC)) return undefined
  if (bytes.readUInt32LE(24) !== crc32(bytes.subarray(0, 24))) return undefined
  const version = bytes.readUInt8(7)
  if (version !== FORMAT_VERSION) return { version }
  return {
    epoch: bytes.readUInt32LE(8),
    salt: bytes.readUInt32LE(12),
    firstSequence: bytes.readBigUInt64LE(16)
  }
}

/** Names sort as the segments do: 20 digits of the first sequence, 10 of the epoch. */
export function segmentName({ firstSequence, epoch }: Pick<SegmentHeader, 'firstSequence' | 'epoch'>): string {
  return `${String(firstSequence).padStart(20, '0')}-${String(epoch).padStart(10, '0')}.journal`
}

const NAME = /^\d{20}-\d{10}\.journal$/

export const isSegmentName = (name: string): boolean => NAME.test(name)

/** The end of the name of a segment that is being made: without its header on disk it is none yet. */
export const UNFINISHED_SUFFIX = '.unfinished'

/** What a segment counts against the journal's bound. */
export const chargedBytes = (endBytes: number): number => Math.max(SEGMENT_FLOOR_BYTES, endBytes)
