import { resolve } from 'node:path'
import { isUint8Array } from 'node:util/types'
import { z } from 'zod'
import type { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { type JournalDisk, type JournalFolder, removeIfThere } from './journal-disk.ts'
import { closed, exhausted, overloaded, refused, unavailable } from './journal-failure.ts'
import { JournalWriter } from './journal-writer.ts'
import { machineDisk } from './machine-disk.ts'
import { PAYLOAD_MAX_BYTES, RECORD_HEADER_BYTES, TYPE_MAX } from './record-format.ts'
import { type Recovered, recoverFolder } from './recovery.ts'
import { type JournalRecord, replaySegments } from './replay.ts'
import { EPOCH_MAX, SEGMENT_FLOOR_BYTES, SEGMENT_HEADER_BYTES, SEQUENCE_MAX } from './segment.ts'
import { SegmentList } from './segment-list.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { BatchWriter } from './writer-protocol.ts'
import { startWriterThread } from './writer-thread.ts'

/** Where the journal is and how much it may hold. */
export interface JournalOptions {
  /** A folder of its own, made when it does not exist (the one around it must). One journal at a time has it open. */
  readonly folder: string
  /** The largest payload: 1 MiB unless given, 16 MiB at the most. A larger one is refused with `INVALID_OPTIONS`. */
  readonly recordMaxBytes?: number
  /** Records that may wait to become durable; beyond it `append` throws `OVERLOADED`. 10,000 unless given. */
  readonly queueMax?: number
  /** Bytes that may wait, 28 for each record included; beyond it `append` throws `OVERLOADED`. 16 MiB unless given. */
  readonly queueMaxBytes?: number
  /** Where a segment ends and the next one begins: 16 MiB unless given, 4 KiB to 256 MiB. Space is freed by the segment. */
  readonly segmentMaxBytes?: number
  /**
   * What all records may take on the disk, 1 GiB unless given; beyond it `append` throws `OVERLOADED` until `trim` has
   * made room. A segment counts for 4 KiB at the least, and its 28 bytes of header on top.
   */
  readonly totalMaxBytes?: number
  /**
   * What the folder is on. Unless given, the machine's file system, which a thread of the journal's own writes to; a disk
   * that is given, such as `simulatedDisk` of `/testing`, is written to from this thread.
   */
  readonly disk?: JournalDisk
  readonly platform?: Platform
  /** Is told what an operator should hear of. What it throws is dropped. */
  readonly observe?: (event: JournalEvent) => void
}

export type JournalEvent =
  /**
   * Opening cut off what a crash had left of an unfinished write: no record that was acknowledged, unless the storage
   * lost what it had said was synced.
   */
  | {
      readonly type: 'journal.tail-cut'
      readonly segment: string
      readonly atBytes: number
      readonly lengthBytes: number
    }
  /** A sync failed. The journal takes no more records; those that it has can be replayed. */
  | { readonly type: 'journal.failed'; readonly error: CoreError }

/** What the journal holds and how it fares. */
export interface JournalStatus {
  readonly state: 'open' | 'failed' | 'closed'
  /** Sequence of the oldest record that is kept; one more than `lastSequence` when there is none. */
  readonly firstSequence: bigint
  /** Sequence of the last durable record, 0 before the first. */
  readonly lastSequence: bigint
  readonly segments: number
  /** What counts against `totalMaxBytes`, without what waits. */
  readonly bytes: number
  /** Records that wait to become durable. */
  readonly waiting: number
  readonly waitingBytes: number
}

/** A write-ahead log: what has been appended is on the disk, in order, until it is trimmed. */
export interface Journal extends AsyncDisposable {
  /**
   * Resolves with the record's sequence when it is on the disk (written and synced). Records become durable in the order
   * of the calls; those that wait at the same time share a sync. The payload is copied before the call returns. `type`
   * is an integer from 0, the default, to 65,534, for the reader.
   *
   * Throws `OVERLOADED` when a bound is reached, `INVALID_OPTIONS`, `CLOSED`, and `STORE_UNAVAILABLE` when the disk is
   * full or the journal has failed: in all of these the record is not in the journal. Throws `COMMIT_UNKNOWN` when the
   * sync failed: the record may be there or not, which the next opening finds out.
   */
  append(payload: Uint8Array, options?: { readonly type?: number }): Promise<bigint>
  /**
   * The records after the cursor `after` (0 or left out: from the oldest that is kept), in order, to the last one that
   * was durable when reading began. Holds one chunk of a file, 64 KiB or one record, at a time.
   *
   * Reading throws `INVALID_OPTIONS` when records after the cursor have been trimmed or the cursor is ahead of the
   * journal, as it is when the folder was replaced; `STORE_DAMAGED`, `STORE_UNAVAILABLE`, `CLOSED`, and the signal's
   * reason.
   */
  replay(options?: { readonly after?: bigint; readonly signal?: AbortSignal }): AsyncIterable<JournalRecord>
  /**
   * Says that the records up to and including `through` are consumed. Removes the segments that hold no other; the last
   * one stays, for it knows the next sequence. Throws `INVALID_OPTIONS` for a cursor ahead of the journal,
   * `STORE_UNAVAILABLE`, after a sync that failed here each time until the journal is opened again, and `CLOSED`.
   */
  trim(options: { readonly through: bigint }): Promise<{ readonly segments: number; readonly bytes: number }>
  status(): JournalStatus
  /**
   * Refuses what comes, waits for what was appended, and lets go of the folder. Later calls wait for the same. Throws
   * `STORE_UNAVAILABLE` when it cannot let go.
   */
  close(): Promise<void>
}

const RECORD_MAX_BYTES = 1_048_576

/** A twentieth of a second's worth: a queue that is longer does not get shorter by itself. */
const QUEUE_MAX = 10_000
const QUEUE_MAX_BYTES = 16_777_216

const SEGMENT_MAX_BYTES = 16_777_216
const SEGMENT_LIMIT_BYTES = 268_435_456

/** A second of reading at the next opening. */
const TOTAL_MAX_BYTES = 1_073_741_824
const TOTAL_LIMIT_BYTES = 2 ** 40

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const journalOptions = z
  .strictObject({
    folder: z
      .string()
      .min(1)
      .refine((folder) => !folder.includes('\0'), 'must not contain a NUL character'),
    recordMaxBytes: z.int().min(1).max(PAYLOAD_MAX_BYTES).default(RECORD_MAX_BYTES),
    queueMax: z.int().min(1).max(1_000_000).default(QUEUE_MAX),
    queueMaxBytes: z.int().min(1).max(SEGMENT_LIMIT_BYTES).default(QUEUE_MAX_BYTES),
    segmentMaxBytes: z.int().min(SEGMENT_FLOOR_BYTES).max(SEGMENT_LIMIT_BYTES).default(SEGMENT_MAX_BYTES),
    totalMaxBytes: z.int().min(1).max(TOTAL_LIMIT_BYTES).default(TOTAL_MAX_BYTES),
    disk: z.custom<JournalDisk>(isObject).optional(),
    platform: z.custom<Platform>(isObject).default(systemPlatform),
    observe: z.custom<(event: JournalEvent) => void>((value) => typeof value === 'function').optional()
  })
  .check(({ value, issues }) => {
    const { recordMaxBytes, queueMaxBytes, segmentMaxBytes, totalMaxBytes } = value
    const largestBytes = RECORD_HEADER_BYTES + recordMaxBytes
    const atLeast = (path: string, given: number, least: number, reason: string): void => {
      if (given < least) issues.push({ code: 'custom', input: given, path: [path], message: `${reason}: ${least}` })
    }
    atLeast('queueMaxBytes', queueMaxBytes, largestBytes, 'must have room for the largest record')
    atLeast(
      'segmentMaxBytes',
      segmentMaxBytes,
      SEGMENT_HEADER_BYTES + largestBytes,
      'must have room for the largest record'
    )
    atLeast(
      'totalMaxBytes',
      totalMaxBytes,
      2 * segmentMaxBytes,
      'must have room for two segments, for the last one is never trimmed'
    )
  })

/**
 * Opens the journal in a folder, and finds what it held: every record that was acknowledged, and none that was not
 * written whole. Reads all of it once, about a second per GiB.
 *
 * Throws `INVALID_OPTIONS`; `STORE_UNAVAILABLE` when the folder cannot be opened or another journal has it;
 * `STORE_DAMAGED`, with the segment and the bytes, when what is there is not what was written, in which case nothing is
 * changed or cut; `SCHEMA_TOO_NEW` when a later version of this package wrote it.
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const limits = parseOptions(journalOptions, 'openJournal', options)
  const { disk = machineDisk } = limits
  // For the thread that writes, which starts later: the process may be elsewhere by then.
  const path = limits.disk === undefined ? resolve(limits.folder) : limits.folder
  let folder: JournalFolder | undefined
  let found: Recovered
  try {
    folder = await disk.openFolder(path)
    found = await recoverFolder(folder)
  } catch (error) {
    // What went wrong first is what the caller has to hear.
    await folder?.close().catch(() => undefined)
    throw unavailable('open', error)
  }
  const report = reporter<JournalEvent>(limits.observe)
  if (found.tornTail !== undefined) report({ type: 'journal.tail-cut', ...found.tornTail })
  const startWriter = (): BatchWriter =>
    limits.disk === undefined ? startWriterThread({ folder: path }) : writerHere(folder)
  return journalOver({ ...limits, report, startWriter, folder }, new SegmentList(found.segments))
}

function writerHere(folder: JournalFolder): BatchWriter {
  const writer = new SegmentWriter(folder)
  return {
    async perform(command) {
      const end = await writer.perform(command)
      return command.kind === 'seal' ? end : { ...end, bytes: command.bytes }
    },
    end: () => writer.end()
  }
}

type Parts = Omit<z.output<typeof journalOptions>, 'folder'> & {
  readonly report: (event: JournalEvent) => void
  readonly startWriter: () => BatchWriter
  readonly folder: JournalFolder
}

function journalOver(parts: Parts, segments: SegmentList): Journal {
  const { folder, recordMaxBytes, queueMax, queueMaxBytes, totalMaxBytes, platform, report } = parts
  const epoch = (segments.last?.epoch ?? 0) + 1
  const writer = new JournalWriter({
    startWriter: parts.startWriter,
    segments,
    segmentMaxBytes: parts.segmentMaxBytes,
    newKey: () => ({ epoch, salt: platform.random.below(2 ** 32) }),
    onFailed: (error) => report({ type: 'journal.failed', error })
  })
  let closing: Promise<void> | undefined
  let trimming: Promise<unknown> = Promise.resolve()
  /** Why a removal may come back after a power cut: one more behind it would then be a hole. */
  let trimFailure: Error | undefined

  const lastSequence = (): bigint => segments.nextSequence - 1n

  /** Throws unless the journal takes a record of that payload and type now. */
  const admit = (payload: Uint8Array, type: number): void => {
    if (closing !== undefined) throw closed()
    if (writer.failure !== undefined) throw writer.failure
    if (!isUint8Array(payload)) throw refused('journal.append', 'payload', 'is not a Uint8Array')
    if (payload.length > recordMaxBytes) {
      throw refused('journal.append', 'payload', `has ${payload.length} bytes; a record takes ${recordMaxBytes}`)
    }
    if (!Number.isInteger(type) || type < 0 || type > TYPE_MAX) {
      throw refused('journal.append', 'type', `is not an integer from 0 to ${TYPE_MAX}`)
    }
    const { waiting, waitingBytes } = writer
    const sizeBytes = RECORD_HEADER_BYTES + payload.length
    if (waiting >= queueMax) throw overloaded('queue', waiting, queueMax)
    if (waitingBytes + sizeBytes > queueMaxBytes) throw overloaded('queued bytes', waitingBytes, queueMaxBytes)
    const totalBytes = segments.chargedBytes + waitingBytes
    if (totalBytes + sizeBytes > totalMaxBytes) throw overloaded('folder', totalBytes, totalMaxBytes)
    if (epoch > EPOCH_MAX || lastSequence() + BigInt(waiting) >= SEQUENCE_MAX - 1n) {
      throw exhausted()
    }
  }

  const checkCursor = (subject: string, path: string, cursor: unknown): bigint => {
    if (typeof cursor !== 'bigint' || cursor < 0n) throw refused(subject, path, 'is not a bigint of 0 or more')
    const last = lastSequence()
    if (cursor > last) throw refused(subject, path, `is ${cursor}, ahead of the last record of this journal, ${last}`)
    return cursor
  }

  const trimNow = async (cursor: bigint): Promise<{ segments: number; bytes: number }> => {
    if (trimFailure !== undefined) throw trimFailure
    const removed = segments.consumed(cursor)
    // The oldest first, each one's name durably before the next: after a power cut what is left has no hole.
    for (const { name } of removed) {
      await removeIfThere(folder, name)
      segments.removeFirst()
      try {
        await folder.sync()
      } catch (error) {
        trimFailure = error as Error
        throw error
      }
    }
    return { segments: removed.length, bytes: removed.reduce((sum, { endBytes }) => sum + endBytes, 0) }
  }

  async function* replay(after: bigint | undefined, signal: AbortSignal | undefined): AsyncGenerator<JournalRecord> {
    const check = (): void => {
      if (closing !== undefined) throw closed()
      signal?.throwIfAborted()
    }
    check()
    const cursor = checkCursor('journal.replay', 'after', after ?? 0n)
    if (cursor !== 0n && cursor + 1n < segments.firstSequence) {
      throw refused(
        'journal.replay',
        'after',
        `is ${cursor}; the records before ${segments.firstSequence} have been trimmed`
      )
    }
    yield* replaySegments(folder, segments.snapshot(), cursor, check)
  }

  const close = (): Promise<void> => {
    closing ??= (async () => {
      await writer.drained()
      await trimming
      await writer.end()
      await folder.close().catch((error: unknown) => {
        throw unavailable('close', error)
      })
    })()
    return closing
  }

  return {
    append(payload, { type = 0 } = {}) {
      try {
        admit(payload, type)
        return writer.append(type, payload, RECORD_HEADER_BYTES + payload.length)
      } catch (error) {
        return Promise.reject(error)
      }
    },
    replay: ({ after, signal } = {}) => ({ [Symbol.asyncIterator]: () => replay(after, signal) }),
    async trim({ through }) {
      if (closing !== undefined) throw closed()
      const cursor = checkCursor('journal.trim', 'through', through)
      // One after the other, so that none removes what another one is removing.
      const trimmed = trimming.then(() => trimNow(cursor))
      trimming = trimmed.catch(() => undefined)
      try {
        return await trimmed
      } catch (error) {
        throw unavailable('trim', error)
      }
    },
    status: () => ({
      state: closing !== undefined ? 'closed' : writer.failure !== undefined ? 'failed' : 'open',
      firstSequence: segments.firstSequence,
      lastSequence: lastSequence(),
      segments: segments.length,
      bytes: segments.chargedBytes,
      waiting: writer.waiting,
      waitingBytes: writer.waitingBytes
    }),
    close,
    [Symbol.asyncDispose]: close
  }
}
