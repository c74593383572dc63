import type { MemoryLevel, MemoryThresholds } from '../monitor/memory-monitor.ts'

/** What `statfs` answers, as `node:fs` gives it; counts of blocks and inodes. */
export interface FileSystemStat {
  readonly bsize: number
  /** The unit that blocks are counted in. Node before 24 does not give it; then `bsize` is that unit as well. */
  readonly frsize?: number
  readonly blocks: number
  readonly bfree: number
  /** What an unprivileged user may still take; less than `bfree` where blocks are reserved for root. */
  readonly bavail: number
  readonly files: number
  readonly ffree: number
}

/** How full a resource of a file system is. */
export interface SpaceUse {
  readonly used: number
  /** To the unprivileged user, and without what is reserved for a checkpoint. */
  readonly available: number
  readonly usedRatio: number
}

/** How a file system stands. A resource is absent when the file system does not bound it. */
export interface DiskSpace {
  readonly bytes?: SpaceUse
  readonly inodes?: SpaceUse
  /** The fuller of the two; writes fail when either is out. */
  readonly usedRatio: number
  readonly limitedBy: 'bytes' | 'inodes'
}

/** Counts above this are negative ones that the kernel handed on unsigned, as when root has eaten into its reserve. */
const NEGATIVE_FROM = 2 ** 63

/**
 * Reads an answer of `statfs` as `df` does: used / (used + available), for blocks that are reserved for root are neither.
 * `keepFreeBytes` of what is available count as used. Undefined when the answer makes no sense or bounds nothing.
 */
export function diskSpaceOf(stat: FileSystemStat, keepFreeBytes: number): DiskSpace | undefined {
  const blockBytes = stat.frsize !== undefined && stat.frsize > 0 ? stat.frsize : stat.bsize
  const counts = [blockBytes, stat.blocks, stat.bfree, stat.bavail, stat.files, stat.ffree]
  if (!counts.every((count) => Number.isFinite(count))) return undefined
  const bytes = useOf(
    (stat.blocks - stat.bfree) * blockBytes,
    atLeastZero(stat.bavail) * blockBytes,
    stat.blocks > 0 && blockBytes > 0 ? keepFreeBytes : undefined
  )
  const inodes = useOf(stat.files - stat.ffree, atLeastZero(stat.ffree), stat.files > 0 ? 0 : undefined)
  if (bytes === undefined && inodes === undefined) return undefined
  const isInodes = (inodes?.usedRatio ?? -1) > (bytes?.usedRatio ?? -1)
  return {
    ...(bytes === undefined ? {} : { bytes }),
    ...(inodes === undefined ? {} : { inodes }),
    usedRatio: Math.max(bytes?.usedRatio ?? 0, inodes?.usedRatio ?? 0),
    limitedBy: isInodes ? 'inodes' : 'bytes'
  }
}

/** `reserved` is undefined for a resource without a bound: unlimited tmpfs has no blocks, btrfs no inodes to count. */
function useOf(used: number, available: number, reserved: number | undefined): SpaceUse | undefined {
  if (reserved === undefined) return undefined
  const taken = Math.max(0, used)
  const total = taken + available
  const left = Math.max(0, available - reserved)
  return { used: taken, available: left, usedRatio: total === 0 ? 1 : (total - left) / total }
}

const atLeastZero = (count: number): number => (count >= NEGATIVE_FROM ? 0 : Math.max(0, count))

/** The level at a ratio, given the level before: a level ends only below its clear ratio. */
export function levelAfter(before: MemoryLevel, usedRatio: number, thresholds: MemoryThresholds): MemoryLevel {
  const { warningRatio, warningClearRatio, criticalRatio, criticalClearRatio } = thresholds
  if (usedRatio >= criticalRatio || (before === 'critical' && usedRatio >= criticalClearRatio)) return 'critical'
  if (usedRatio >= warningRatio || (before !== 'normal' && usedRatio >= warningClearRatio)) return 'warning'
  return 'normal'
}
