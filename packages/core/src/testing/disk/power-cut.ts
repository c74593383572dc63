import type { Random } from '../../chance/random.ts'
import type { ByteChange } from './file-bytes.ts'

/**
 * What of a write that was not synced is on the disk, in place of what was there, or of zeros where the file had not been
 * so long. `half`: its beginning. `zeros`: the length that it made, and no bytes. `holes`: every other one of its sectors.
 */
export type WriteRemains = 'all' | 'none' | 'half' | 'zeros' | 'holes'

/** What a power cut leaves of what was not synced. It is asked about each change apart: any may be there, in any order. */
export interface PowerCut {
  /** Whether the next change of a name is there. */
  name(): boolean
  /** How much of the next write is there; a truncation is there unless this is `none`. */
  write(): WriteRemains
}

const REMAINS: readonly WriteRemains[] = ['all', 'none', 'half', 'zeros', 'holes']

/** Leaves what chance says. */
export function randomPowerCut(random: Random): PowerCut {
  return {
    name: () => random.below(2) === 0,
    write: () => REMAINS[random.below(REMAINS.length)] as WriteRemains
  }
}

/** The least that a disk writes or does not write. */
const SECTOR_BYTES = 512

/** Changes of a file in their order, with writes joined that meet within a sector: no disk keeps one half of it alone. */
export function wholeWrites(changes: readonly ByteChange[]): ByteChange[] {
  const joined: ByteChange[] = []
  let parts: Buffer[] = []
  let endBytes = 0
  for (const change of changes) {
    const last = joined.at(-1)
    const isWrite = change.kind === 'write'
    if (isWrite && last?.kind === 'write' && change.at === endBytes && endBytes % SECTOR_BYTES !== 0) {
      parts.push(change.bytes)
      joined[joined.length - 1] = { ...last, bytes: Buffer.concat(parts) }
    } else {
      joined.push(change)
      parts = isWrite ? [change.bytes] : []
    }
    if (isWrite) endBytes = change.at + change.bytes.length
  }
  return joined
}

/** The parts of a write at `at` that are on the disk. */
export function* partsOf(bytes: Buffer, at: number, remains: WriteRemains): Generator<{ at: number; bytes: Buffer }> {
  if (remains === 'all') yield { at, bytes }
  if (remains === 'half') yield { at, bytes: bytes.subarray(0, bytes.length >> 1) }
  if (remains !== 'holes') return
  const endBytes = at + bytes.length
  for (let from = at; from < endBytes; ) {
    const sector = Math.floor(from / SECTOR_BYTES)
    const to = Math.min(endBytes, (sector + 1) * SECTOR_BYTES)
    // A sector that the write fills only in part is there: what else is in it shares its fate.
    const isWhole = to - from === SECTOR_BYTES
    if (!isWhole || sector % 2 === 1) yield { at: from, bytes: bytes.subarray(from - at, to - at) }
    from = to
  }
}
