import type { JournalFile, JournalFolder } from './journal-disk.ts'
import { damaged, refused, unavailable } from './journal-failure.ts'
import { SEGMENT_HEADER_BYTES, type Segment } from './segment.ts'
import { recordsOf } from './segment-reader.ts'

/** A record of the journal. */
export interface JournalRecord {
  /** One more than that of the record before it; the first of a folder is 1. */
  readonly sequence: bigint
  /** What its writer said, 0 unless given. */
  readonly type: number
  /** The reader's own copy. */
  readonly payload: Uint8Array<ArrayBuffer>
}

/**
 * Gives the records of `segments` after `after`, one chunk of a file in memory at a time. `check` throws when reading has
 * to stop.
 */
export async function* replaySegments(
  folder: JournalFolder,
  segments: readonly Segment[],
  after: bigint,
  check: () => void
): AsyncGenerator<JournalRecord, void> {
  for (const segment of segments) {
    if (segment.nextSequence - 1n <= after) continue
    check()
    const file = await openSegment(folder, segment)
    try {
      for await (const record of replaySegment(file, segment, after)) {
        check()
        yield record
      }
    } finally {
      await file.close()
    }
  }
}

async function* replaySegment(file: JournalFile, segment: Segment, after: bigint): AsyncGenerator<JournalRecord, void> {
  const { name, endBytes, firstSequence, nextSequence } = segment
  const records = recordsOf(file, { key: segment, fromBytes: SEGMENT_HEADER_BYTES, endBytes, sequence: firstSequence })
  let step = await nextOf(records)
  while (step.done !== true) {
    for (const { type, sequence, payload } of step.value) {
      if (sequence > after) yield { sequence, type, payload: new Uint8Array(payload) }
    }
    step = await nextOf(records)
  }
  // It was whole when it was opened or written.
  if (step.value.nextSequence !== nextSequence) {
    throw damaged(`record ${step.value.nextSequence} at byte ${step.value.endBytes} of ${name} is no longer there`)
  }
}

async function nextOf<T, R>(records: AsyncGenerator<T, R>): Promise<IteratorResult<T, R>> {
  try {
    return await records.next()
  } catch (error) {
    throw unavailable('read a segment', error)
  }
}

async function openSegment(folder: JournalFolder, { name, nextSequence }: Segment): Promise<JournalFile> {
  try {
    return await folder.open(name, 'read')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unavailable('read a segment', error)
    throw refused('journal.replay', 'after', `the records up to ${nextSequence - 1n} were trimmed meanwhile`)
  }
}
