import type { BigIntStats } from 'node:fs'
import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { fileKey, openFilesAmong } from './open-files.ts'
import { isBareRepository, type OpenFolder, openRoot } from './open-folder.ts'
import { protectionOf } from './protection.ts'

/** A file, with all that shows whether it is still the same one. */
export interface ListedFile {
  /** Its names relative to the root, sorted: several when it has hard links. */
  readonly paths: readonly string[]
  /** In decimal: inode numbers pass 2^53 on some file systems. */
  readonly device: string
  readonly inode: string
  readonly sizeBytes: number
  /** What deleting it gives back: blocks, not length, for a sparse file is smaller than it looks. */
  readonly allocatedBytes: number
  /** Last change of its content: nanoseconds since the epoch, in decimal. */
  readonly modifiedNs: string
}

/** A file that was found. */
export interface LargeFile extends ListedFile {
  /** A process has it open or mapped; deleting it would free nothing before that process ends. */
  readonly isOpen: boolean
  /** It has names outside the root, or in a protected folder: deleting those inside would free nothing. */
  readonly isLinkedElsewhere: boolean
  /** Matches a protected glob, or is in a repository. */
  readonly isProtected: boolean
}

/** What to look for. */
export interface LargeFileOptions {
  /** Allocated bytes from which a file is large. Default 10 MiB. */
  readonly minBytes?: number
  /** Globs relative to the root, such as `checkpoints/**`. Repositories of version control are always protected. */
  readonly protect?: readonly string[]
  /** The largest files to keep, in [1, 10,000]. Default 1,000. */
  readonly filesMax?: number
  /** Folder entries looked at in all, in [1, 10,000,000]. Default 200,000, some 10 s on a slow disk. */
  readonly entriesMax?: number
  readonly signal?: AbortSignal
  /** Where processes show what they have open. Default `/proc`. */
  readonly procRoot?: string
}

/** What was found. */
export interface LargeFiles {
  /** The largest first. */
  readonly files: readonly LargeFile[]
  /** Entries, depth or files came to their bound: there may be more. */
  readonly isTruncated: boolean
  /** Folders and files that could not be read, and names that are not UTF-8. */
  readonly unreadable: number
  /** False when some processes did not let us see what they have open. */
  readonly isOpenComplete: boolean
}

/** Each level holds one descriptor while it is searched. */
const DEPTH_MAX = 64

const MIN_BYTES = 10_485_760
const BLOCK_BYTES = 512n

const schema: z.ZodType<LargeFileOptions> = z.strictObject({
  minBytes: z.int().min(1).optional(),
  protect: z.array(z.string().min(1)).max(1_000).optional(),
  filesMax: z.int().min(1).max(10_000).optional(),
  entriesMax: z.int().min(1).max(10_000_000).optional(),
  signal: z.instanceof(AbortSignal).optional(),
  procRoot: z.string().startsWith('/').optional()
}) as z.ZodType<LargeFileOptions>

interface Candidate {
  readonly stat: BigIntStats
  readonly paths: string[]
  isProtected: boolean
}

/**
 * The large files below a folder. Links are not followed, other file systems not entered, and what is being swapped
 * meanwhile cannot lead the search outside. Throws `INVALID_OPTIONS`, `NOT_SUPPORTED` (Linux only), what opening the root
 * threw, and the signal's reason.
 */
export async function findLargeFiles(root: string, options: LargeFileOptions = {}): Promise<LargeFiles> {
  const checked = parseOptions(schema, 'findLargeFiles', options)
  const { minBytes = MIN_BYTES, protect = [], filesMax = 1_000, entriesMax = 200_000, procRoot = '/proc' } = checked
  const isProtected = protectionOf(protect)
  const found = new Map<string, Candidate>()
  let entries = 0
  let unreadable = 0
  let isTruncated = false

  const visit = async (folder: OpenFolder, above: string, depth: number, device: bigint, within: boolean) => {
    const { names, unnameable } = await folder.names()
    unreadable += unnameable
    for (const name of names) {
      checked.signal?.throwIfAborted()
      entries += 1
      if (entries > entriesMax) {
        isTruncated = true
        return
      }
      const path = above === '' ? name : `${above}/${name}`
      try {
        const stat = await folder.lstat(name)
        if (stat.dev !== device) continue
        if (stat.isFile() && stat.blocks * BLOCK_BYTES >= minBytes) keep(path, stat, within || isProtected(path))
        if (!stat.isDirectory()) continue
        if (depth === DEPTH_MAX) {
          isTruncated = true
          continue
        }
        await using inside = await folder.openFolder(name)
        // It may have been swapped for another since it was looked at.
        if (inside.device !== device) continue
        await visit(inside, path, depth + 1, device, within || (await isBareRepository(inside)))
      } catch (error) {
        checked.signal?.throwIfAborted()
        // ENOENT, ELOOP, ENOTDIR: it went, or was swapped for something else, since its name was read.
        if (!['ENOENT', 'ELOOP', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) unreadable += 1
      }
    }
  }

  const keep = (path: string, stat: BigIntStats, inProtected: boolean): void => {
    const key = fileKey(stat.dev, stat.ino)
    const known = found.get(key)
    if (known === undefined) found.set(key, { stat, paths: [path], isProtected: inProtected })
    else {
      known.paths.push(path)
      known.isProtected ||= inProtected
    }
  }

  await using top = await openRoot(root)
  await visit(top, '', 0, top.device, await isBareRepository(top))

  const byAllocation = [...found].sort(([, one], [, other]) =>
    one.stat.blocks === other.stat.blocks
      ? compare(one.paths[0] as string, other.paths[0] as string)
      : one.stat.blocks < other.stat.blocks
        ? 1
        : -1
  )
  const largest = byAllocation.slice(0, filesMax)
  const open = await openFilesAmong(new Set(largest.map(([key]) => key)), procRoot)
  const files = largest.map(
    ([key, { stat, paths, isProtected: kept }]): LargeFile => ({
      ...listed(stat, paths),
      isOpen: open.has(key),
      isLinkedElsewhere: stat.nlink !== BigInt(paths.length),
      isProtected: kept
    })
  )
  return {
    files,
    isTruncated: isTruncated || byAllocation.length > filesMax,
    unreadable,
    isOpenComplete: open.complete
  }
}

const listed = (stat: BigIntStats, paths: readonly string[]): ListedFile => ({
  paths: [...paths].sort(compare),
  device: `${stat.dev}`,
  inode: `${stat.ino}`,
  sizeBytes: Number(stat.size),
  allocatedBytes: Number(stat.blocks * BLOCK_BYTES),
  modifiedNs: `${stat.mtimeNs}`
})

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)
