import { type JournalFile, readAt } from './journal-disk.ts'
import { decodeRecord, nextCandidate, RECORD_HEADER_BYTES, SEAL_TYPE, type SegmentKey } from './record-format.ts'

/** Bytes read at a time; a record that is longer is read whole. */
const CHUNK_BYTES = 65_536

/** The least that a disk writes or does not write. */
const SECTOR_BYTES = 512

/** A record as it lies in the file. */
export interface StoredRecord {
  readonly type: number
  readonly sequence: bigint
  /** A view of what was read: copied before it is handed out, or ten bytes would keep a chunk alive. */
  readonly payload: Buffer
}

/** A part of a segment: from where, to where, and the sequence of the record that begins there. */
export interface Stretch {
  readonly key: SegmentKey
  readonly fromBytes: number
  readonly endBytes: number
  readonly sequence: bigint
}

/** How far the records of a stretch went. */
export interface Reach {
  /** Where the first thing stands that is no record, or the end. */
  readonly endBytes: number
  /** The sequence that the next record would have. */
  readonly nextSequence: bigint
  /** Whether the last thing was a seal, after which nothing is read. */
  readonly sealed: boolean
}

/** Gives the records of a stretch in order, a chunk of them at a time, up to the first bytes that are no record. */
export async function* recordsOf(file: JournalFile, stretch: Stretch): AsyncGenerator<StoredRecord[], Reach> {
  const { key, endBytes } = stretch
  let at = stretch.fromBytes
  let sequence = stretch.sequence
  let wantedBytes = CHUNK_BYTES
  let sealed = false
  for (;;) {
    // What is left of a chunk is read again with the next one: less than one record.
    const asked = Math.min(wantedBytes, endBytes - at)
    const bytes = await readAt(file, at, asked)
    const records: StoredRecord[] = []
    let used = 0
    let decoded = decodeRecord(bytes, used, key, sequence, sequence)
    while (decoded.outcome === 'record' && !sealed) {
      const { type, sizeBytes } = decoded
      if (type === SEAL_TYPE) sealed = true
      else {
        records.push({ type, sequence, payload: bytes.subarray(used + RECORD_HEADER_BYTES, used + sizeBytes) })
        sequence += 1n
      }
      used += sizeBytes
      decoded = decodeRecord(bytes, used, key, sequence, sequence)
    }
    at += used
    if (records.length > 0) yield records
    if (sealed || decoded.outcome !== 'incomplete' || at + decoded.sizeBytes > endBytes) break
    // A file that has become shorter gives less than was asked for; asking again would never end.
    if (bytes.length < asked) break
    wantedBytes = Math.max(CHUNK_BYTES, decoded.sizeBytes)
  }
  return { endBytes: at, nextSequence: sequence, sealed }
}

/**
 * Where a whole record begins after bytes that are none, at `fromBytes`, if that makes them damage; undefined if they can
 * be a torn tail.
 *
 * The write that was under way when the power went may have left any of its sectors and not the others, which read as
 * zeros. A record of a later write says that this one had been synced. So does, of its own write, a record behind bytes
 * without a sector of zeros: they were there, and are other ones now.
 */
export async function proofOfDamage(file: JournalFile, stretch: Stretch): Promise<number | undefined> {
  let ofSameWrite: number | undefined
  for await (const { at, writeBegins } of laterRecords(file, stretch)) {
    if (writeBegins > stretch.sequence) return ofSameWrite ?? at
    ofSameWrite ??= at
  }
  if (ofSameWrite === undefined) return undefined
  return (await hasHole(file, stretch.fromBytes, ofSameWrite)) ? undefined : ofSameWrite
}

/** Every whole record after `fromBytes`, wherever it begins, with the sequence of the first record of its write. */
async function* laterRecords(
  file: JournalFile,
  { key, fromBytes, endBytes, sequence }: Stretch
): AsyncGenerator<{ readonly at: number; readonly writeBegins: bigint }, void> {
  const sequenceMax = sequence + BigInt(Math.ceil((endBytes - fromBytes) / RECORD_HEADER_BYTES))
  let at = fromBytes + 1
  while (endBytes - at >= RECORD_HEADER_BYTES) {
    const bytes = await readAt(file, at, Math.min(CHUNK_BYTES, endBytes - at))
    if (bytes.length < RECORD_HEADER_BYTES) return
    let candidate = nextCandidate(bytes, 0)
    while (candidate >= 0 && bytes.length - candidate >= RECORD_HEADER_BYTES) {
      let decoded = decodeRecord(bytes, candidate, key, sequence, sequenceMax)
      if (decoded.outcome === 'incomplete' && at + candidate + decoded.sizeBytes <= endBytes) {
        decoded = decodeRecord(await readAt(file, at + candidate, decoded.sizeBytes), 0, key, sequence, sequenceMax)
      }
      if (decoded.outcome === 'record') {
        yield { at: at + candidate, writeBegins: decoded.sequence - BigInt(decoded.place) }
      }
      candidate = nextCandidate(bytes, candidate + 1)
    }
    // Chunks overlap by a header less one byte, in which a header may begin that the chunk does not hold whole.
    at += bytes.length - RECORD_HEADER_BYTES + 1
  }
}

/** Whether a whole sector between two places is zeros. They are at most one write or one record apart. */
async function hasHole(file: JournalFile, fromBytes: number, endBytes: number): Promise<boolean> {
  const first = Math.ceil(fromBytes / SECTOR_BYTES) * SECTOR_BYTES
  const bytes = await readAt(file, first, endBytes - first)
  for (let at = 0; at + SECTOR_BYTES <= bytes.length; at += SECTOR_BYTES) {
    if (bytes.subarray(at, at + SECTOR_BYTES).every((byte) => byte === 0)) return true
  }
  return false
}
