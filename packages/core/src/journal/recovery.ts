import { CoreError } from '../failure/core-error.ts'
import { type JournalFile, type JournalFolder, readAt, removeIfThere, writeAll } from './journal-disk.ts'
import { damaged, JOURNAL } from './journal-failure.ts'
import {
  decodeSegmentHeader,
  FORMAT_VERSION,
  isSegmentName,
  SEGMENT_HEADER_BYTES,
  type Segment,
  segmentName,
  UNFINISHED_SUFFIX
} from './segment.ts'
import { proofOfDamage, recordsOf } from './segment-reader.ts'

/** Bytes copied at a time when a segment is written again. */
const REWRITE_BYTES = 1_048_576

/** What was cut off the end of the last segment: a write that the process or the machine did not live to finish. */
interface TornTail {
  readonly segment: string
  readonly atBytes: number
  readonly lengthBytes: number
}

export interface Recovered {
  /** In order, without a hole. */
  readonly segments: Segment[]
  readonly tornTail: TornTail | undefined
}

interface Scanned {
  readonly segment: Segment
  readonly sealed: boolean
  readonly fileBytes: number
}

/**
 * Reads every segment of a folder from end to end, and makes the last one whole: about a second per GiB.
 *
 * Throws `STORE_DAMAGED` and changes nothing when bytes in front of a valid record are none and no torn write either, when a finished segment has
 * anything else in it, or when segments are missing in between; `SCHEMA_TOO_NEW` when a later version wrote one.
 */
export async function recoverFolder(folder: JournalFolder): Promise<Recovered> {
  const names = await segmentNames(folder)
  const segments: Segment[] = []
  let tornTail: TornTail | undefined
  for (const [index, name] of names.entries()) {
    const last = index === names.length - 1
    const file = await folder.open(name, last ? 'update' : 'read')
    try {
      const scanned = await scan(file, name)
      checkChain(segments.at(-1), scanned.segment)
      await checkRest(file, scanned, last)
      if (last) tornTail = await makeWhole(file, scanned)
      segments.push(scanned.segment)
    } finally {
      await file.close()
    }
  }
  // The sync of an empty segment's name may have failed: a journal that was trimmed to it alone would begin anew after
  // a power cut. The one before it knows the next sequence, too.
  while (segments.length > 1 && isEmpty(segments.at(-1) as Segment)) {
    await removeIfThere(folder, (segments.pop() as Segment).name)
  }
  // An opener before this one may have ended between a name and its durability.
  await folder.sync()
  return { segments, tornTail }
}

const isEmpty = ({ firstSequence, nextSequence }: Segment): boolean => firstSequence === nextSequence

/** The segments' names in order. Removes what was left of a segment that was being made. */
async function segmentNames(folder: JournalFolder): Promise<string[]> {
  const names = await folder.names()
  for (const name of names) if (name.endsWith(UNFINISHED_SUFFIX)) await folder.remove(name)
  return names.filter(isSegmentName).sort()
}

async function scan(file: JournalFile, name: string): Promise<Scanned> {
  const fileBytes = await file.lengthBytes()
  const header = decodeSegmentHeader(await readAt(file, 0, SEGMENT_HEADER_BYTES))
  if (header === undefined) throw damaged(`bytes 0 to ${SEGMENT_HEADER_BYTES} of ${name} are not its header`)
  if ('version' in header) {
    const { version } = header
    const message = `the journal's ${name} has format ${version}; this version reads up to ${FORMAT_VERSION}`
    const detail = { component: JOURNAL, found: version, supported: FORMAT_VERSION }
    throw new CoreError('SCHEMA_TOO_NEW', message, detail)
  }
  if (segmentName(header) !== name) throw damaged(`${name} holds the segment ${segmentName(header)}`)
  const stretch = { key: header, fromBytes: SEGMENT_HEADER_BYTES, endBytes: fileBytes, sequence: header.firstSequence }
  const records = recordsOf(file, stretch)
  let step = await records.next()
  while (step.done !== true) step = await records.next()
  const { endBytes, nextSequence, sealed } = step.value
  return { segment: { ...header, name, endBytes, nextSequence }, sealed, fileBytes }
}

function checkChain(before: Segment | undefined, segment: Segment): void {
  if (before === undefined) return
  if (segment.firstSequence === before.nextSequence && segment.epoch >= before.epoch) return
  throw damaged(
    `${before.name} ends with record ${before.nextSequence - 1n}, and ${segment.name} begins with ${segment.firstSequence}`
  )
}

/** Refuses what follows the last valid record, unless it can be a torn tail. */
async function checkRest(file: JournalFile, { segment, fileBytes }: Scanned, last: boolean): Promise<void> {
  const { name, endBytes, nextSequence } = segment
  if (fileBytes === endBytes) return
  const later = await proofOfDamage(file, {
    key: segment,
    fromBytes: endBytes,
    endBytes: fileBytes,
    sequence: nextSequence
  })
  if (later !== undefined) {
    throw damaged(`bytes ${endBytes} to ${later} of ${name} are not record ${nextSequence}, and a valid one follows`)
  }
  if (!last) throw damaged(`bytes ${endBytes} to ${fileBytes} of ${name}, a finished segment, are not a record`)
}

/**
 * Cuts the torn tail off the last segment, and writes what is before it again unless a seal says that it is on disk.
 *
 * After a failed sync the system may take pages for written that are not: they can be read now, and are gone after
 * a power cut. Whoever had replayed them would find other records under their sequences. So nothing is replayed that has
 * not been synced after it was read; the same bytes in the same place need no space and can tear nothing.
 */
async function makeWhole(file: JournalFile, { segment, sealed, fileBytes }: Scanned): Promise<TornTail | undefined> {
  const { name, endBytes } = segment
  if (sealed && fileBytes === endBytes) return undefined
  for (let at = 0; at < endBytes; at += REWRITE_BYTES) {
    const bytes = await readAt(file, at, Math.min(REWRITE_BYTES, endBytes - at))
    await writeAll(file, bytes, at)
  }
  await file.truncate(endBytes)
  await file.sync()
  return fileBytes === endBytes ? undefined : { segment: name, atBytes: endBytes, lengthBytes: fileBytes - endBytes }
}
