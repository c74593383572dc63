import { encodeRecord, RECORD_HEADER_BYTES, type RecordMemory, recordMemory } from './record-format.ts'
import { SEGMENT_HEADER_BYTES, type SegmentHeader } from './segment.ts'

/** The most that one sync makes durable, and so the most that one failed sync leaves in doubt: 1 MiB. */
const BATCH_MAX_BYTES = 1_048_576

/** What a batch begins with: room for 64 records of 200 bytes. It doubles as it fills. */
const BATCH_BYTES = 16_384

interface Waiter {
  resolve(sequence: bigint): void
  reject(reason: unknown): void
}

/** Records that one write and one sync make durable. */
export interface Batch {
  /** The segment that it goes to. */
  readonly segment: SegmentHeader
  /** Whether that segment has to be made first. */
  readonly begins: boolean
  readonly atBytes: number
  readonly firstSequence: bigint
  readonly waiters: Waiter[]
  memory: RecordMemory
  lengthBytes: number
}

/**
 * Numbers records, lays them out in segments and encodes them, while the batch before them is on its way to the disk.
 * Taking the whole queue at once is what makes a sync serve all who wait: no timer holds a record back.
 */
export class AppendQueue {
  readonly #segmentMaxBytes: number
  readonly #newSegment: (firstSequence: bigint) => SegmentHeader
  #batches: Batch[] = []
  /** Where the next record goes; without a segment, to a new one. */
  #segment: SegmentHeader | undefined
  #endBytes = 0
  #nextSequence: bigint
  #spare: Buffer | undefined

  constructor(
    nextSequence: bigint,
    options: { readonly segmentMaxBytes: number; readonly newSegment: (firstSequence: bigint) => SegmentHeader }
  ) {
    this.#nextSequence = nextSequence
    this.#segmentMaxBytes = options.segmentMaxBytes
    this.#newSegment = options.newSegment
  }

  get empty(): boolean {
    return this.#batches.length === 0
  }

  /** Takes a record in, with a copy of its payload. Resolves with its sequence when the owner says so. */
  add(type: number, payload: Uint8Array): Promise<bigint> {
    const sizeBytes = RECORD_HEADER_BYTES + payload.length
    const batch = this.#batchFor(sizeBytes)
    const record = { type, sequence: this.#nextSequence, place: batch.waiters.length, payload }
    encodeRecord(batch.memory, batch.lengthBytes, batch.segment, record)
    batch.lengthBytes += sizeBytes
    this.#endBytes += sizeBytes
    this.#nextSequence += 1n
    return new Promise((resolve, reject) => batch.waiters.push({ resolve, reject }))
  }

  /** The next batch to write. */
  shift(): Batch | undefined {
    return this.#batches.shift()
  }

  /** Takes the memory of a batch that has been written, for one to come. */
  giveBack(bytes: Buffer): void {
    // What one large record needed is not kept for good.
    if (bytes.length <= BATCH_MAX_BYTES) this.#spare = bytes
  }

  /** Forgets what waits, and goes on after the last durable record, in `segment` if there is one. */
  reset(nextSequence: bigint, segment: (SegmentHeader & { readonly endBytes: number }) | undefined): Batch[] {
    const dropped = this.#batches
    this.#batches = []
    this.#nextSequence = nextSequence
    this.#segment = segment
    this.#endBytes = segment?.endBytes ?? 0
    return dropped
  }

  /** The batch that has room for a record, or can be given it. */
  #batchFor(sizeBytes: number): Batch {
    const segment = this.#segment
    if (segment === undefined || this.#endBytes + sizeBytes > this.#segmentMaxBytes) {
      this.#segment = this.#newSegment(this.#nextSequence)
      this.#endBytes = SEGMENT_HEADER_BYTES
      return this.#begin(this.#segment, true, sizeBytes)
    }
    const last = this.#batches.at(-1)
    if (last === undefined || last.lengthBytes + sizeBytes > BATCH_MAX_BYTES) {
      return this.#begin(segment, false, sizeBytes)
    }
    const neededBytes = last.lengthBytes + sizeBytes
    const { bytes } = last.memory
    if (neededBytes > bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(neededBytes, bytes.length * 2))
      bytes.copy(larger, 0, 0, last.lengthBytes)
      last.memory = recordMemory(larger)
    }
    return last
  }

  #begin(segment: SegmentHeader, begins: boolean, sizeBytes: number): Batch {
    const spare = this.#spare
    const reusable = spare !== undefined && spare.length >= sizeBytes
    if (reusable) this.#spare = undefined
    const batch: Batch = {
      segment,
      begins,
      atBytes: this.#endBytes,
      firstSequence: this.#nextSequence,
      waiters: [],
      // Not from Buffer's pool: the memory goes to the thread whole.
      memory: recordMemory(reusable ? spare : Buffer.allocUnsafeSlow(Math.max(BATCH_BYTES, sizeBytes))),
      lengthBytes: 0
    }
    this.#batches.push(batch)
    return batch
  }
}
