import type { BigIntStats } from 'node:fs'
import { createIdSource, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { ListedFile } from './large-files.ts'
import { fileKey, openFilesAmong } from './open-files.ts'
import { isBareRepository, type OpenFolder, openRoot } from './open-folder.ts'
import { protectionOf } from './protection.ts'

/** What became of one listed file. */
export type FileDeletion =
  /** `reclaimedBytes` is what it had allocated; 0 when it has got another name since, by which it lives on. */
  | { readonly path: string; readonly outcome: 'deleted'; readonly reclaimedBytes: number }
  /** Under that name is another file now, or the file was written to since it was listed. It is left alone. */
  | { readonly path: string; readonly outcome: 'changed' }
  | { readonly path: string; readonly outcome: 'gone' }
  /** `reason` is `open`, `protected`, `outside`, or what the system answered, such as `EACCES` or `EROFS`. */
  | { readonly path: string; readonly outcome: 'refused'; readonly reason: string }

export interface DeletionOptions {
  /** As for `findLargeFiles`. */
  readonly protect?: readonly string[]
  readonly procRoot?: string
  readonly platform?: Platform
}

const schema = z.strictObject({
  protect: z.array(z.string().min(1)).max(1_000).optional(),
  procRoot: z.string().startsWith('/').optional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null, 'must be an object').optional()
}) as z.ZodType<DeletionOptions>

/**
 * Deletes what was listed, as far as it is still what it was: same device, inode, size and time of change, not open, and
 * not protected. One outcome a file, under its first name, in the order given. A file of several names is deleted under
 * all of them or, when one is not as listed, under none that comes after it.
 *
 * Every folder on the way is held open and may be no link, so that a swap leads nowhere. A file is moved to a name of
 * ours first, looked at again, and deleted then: whoever replaces it between the look and the deletion keeps the
 * replacement. Never throws for one file's sake; throws `INVALID_OPTIONS`, `NOT_SUPPORTED`, and what opening the root threw.
 */
export async function deleteListedFiles(
  root: string,
  files: readonly ListedFile[],
  options: DeletionOptions = {}
): Promise<readonly FileDeletion[]> {
  const checked = parseOptions(schema, 'deleteListedFiles', options)
  const { protect = [], procRoot = '/proc', platform = systemPlatform } = checked
  const isProtected = protectionOf(protect)
  const nextId = createIdSource(platform)
  await using top = await openRoot(root)
  const open = await openFilesAmong(
    new Set(files.map(({ device, inode }) => fileKey(BigInt(device), BigInt(inode)))),
    procRoot
  )

  const deleteOne = async (file: ListedFile): Promise<FileDeletion> => {
    const path = file.paths[0] ?? ''
    const refused = (reason: string): FileDeletion => ({ path, outcome: 'refused', reason })
    if (file.paths.some((one) => isProtected(one))) return refused('protected')
    if (BigInt(file.device) !== top.device) return refused('outside')
    if (open.has(fileKey(BigInt(file.device), BigInt(file.inode)))) return refused('open')
    let gone = 0
    let namesLeft = 0n
    for (const one of file.paths) {
      const outcome = await deleteName(top, one, file, `.deleting-${nextId()}`)
      if (outcome === 'changed') return { path, outcome }
      if (outcome === 'gone') gone += 1
      else if ('reason' in outcome) return refused(outcome.reason)
      else namesLeft = outcome.namesLeft
    }
    if (gone === file.paths.length) return { path, outcome: 'gone' }
    return { path, outcome: 'deleted', reclaimedBytes: namesLeft === 0n ? file.allocatedBytes : 0 }
  }

  const deletions: FileDeletion[] = []
  for (const file of files) deletions.push(await deleteOne(file))
  return deletions
}

type NameOutcome = { readonly namesLeft: bigint } | 'changed' | 'gone' | { readonly reason: string }

async function deleteName(top: OpenFolder, path: string, file: ListedFile, aside: string): Promise<NameOutcome> {
  const parts = path.split('/')
  const name = parts.pop() as string
  if ([...parts, name].some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
    return { reason: 'outside' }
  }
  const opened: OpenFolder[] = []
  try {
    let folder = top
    for (const part of parts) {
      folder = await folder.openFolder(part)
      opened.push(folder)
      if (folder.device !== top.device) return { reason: 'outside' }
      if (await isBareRepository(folder)) return { reason: 'protected' }
    }
    const stat = await folder.lstat(name)
    if (!isSame(stat, file)) return 'changed'
    return await deleteAside(folder, name, stat, file, aside)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN'
    if (code === 'ENOENT') return 'gone'
    // A folder on the way is a link, or a file, now.
    return code === 'ELOOP' || code === 'ENOTDIR' ? 'changed' : { reason: code }
  } finally {
    for (const folder of opened.reverse()) await folder[Symbol.asyncDispose]()
  }
}

async function deleteAside(
  folder: OpenFolder,
  name: string,
  seen: BigIntStats,
  file: ListedFile,
  aside: string
): Promise<NameOutcome> {
  try {
    await folder.rename(name, aside)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
    // Too full for one more name. The window between the look and this call is some microseconds.
    await folder.unlink(name)
    return { namesLeft: seen.nlink - 1n }
  }
  const stat = await folder.lstat(aside)
  if (isSame(stat, file)) {
    await folder.unlink(aside)
    return { namesLeft: stat.nlink - 1n }
  }
  // It was replaced after the first look. It goes back, unless there is a newer one again: then both are kept.
  await folder.putBack(aside, name)
  return 'changed'
}

const isSame = (stat: BigIntStats, file: ListedFile): boolean =>
  stat.isFile() &&
  `${stat.dev}` === file.device &&
  `${stat.ino}` === file.inode &&
  stat.size === BigInt(file.sizeBytes) &&
  `${stat.mtimeNs}` === file.modifiedNs
