import { constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, opendir, readlink, symlink } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'

/*
 * A workspace as bytes: a table of contents in JSON, then the files one after the other. A tar library would bring the
 * formats of forty years, device nodes, owners and absolute names, each to be switched off again; four kinds of field are
 * easier to bound than to filter. The other side of every step is code that wants out: folders are walked from descriptor to
 * descriptor and nothing is opened through a link, so that a folder exchanged for a link meanwhile leads nowhere.
 */

/** Bytes of files, files and folders, and folders in folders, that one archive holds. All of it passes through memory. */
export const ARCHIVE_MAX_BYTES = 268_435_456
const ENTRIES_MAX = 100_000
const DEPTH_MAX = 64

const NAME_MAX_CHARS = 255
const TARGET_MAX_CHARS = 4_096

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

/** One file, folder or link below the folder that lists it. */
export type Entry =
  | { readonly name: string; readonly kind: 'file'; readonly mode: number; readonly bytes: number }
  | { readonly name: string; readonly kind: 'folder'; readonly mode: number; readonly entries: readonly Entry[] }
  | { readonly name: string; readonly kind: 'link'; readonly target: string }

export interface WorkspaceArchive {
  readonly entries: readonly Entry[]
  /** Contents of the files, in the order of `entries`, folders walked where they stand. */
  readonly contents: Uint8Array
}

const nameSchema = z
  .string()
  .min(1)
  .max(NAME_MAX_CHARS)
  .refine((name) => isName(name), 'must be one name')
const modeSchema = z.int().min(0).max(0o777)
const entrySchema: z.ZodType<Entry> = z.lazy(() =>
  z.discriminatedUnion('kind', [
    z.strictObject({ name: nameSchema, kind: z.literal('file'), mode: modeSchema, bytes: z.int().min(0) }),
    z.strictObject({ name: nameSchema, kind: z.literal('folder'), mode: modeSchema, entries: z.array(entrySchema) }),
    z.strictObject({ name: nameSchema, kind: z.literal('link'), target: z.string().min(1).max(TARGET_MAX_CHARS) })
  ])
)

/** Reads a table of contents. Throws when it is none, or names what lies outside the workspace. */
export function parseEntries(value: unknown, contentBytes: number): readonly Entry[] {
  const entries = z.array(entrySchema).parse(value)
  let bytes = 0
  let count = 0
  const check = (list: readonly Entry[], depth: number): void => {
    if (depth > DEPTH_MAX) throw new Error(`folders are nested deeper than ${DEPTH_MAX}`)
    if (new Set(list.map(({ name }) => name)).size !== list.length) throw new Error('a name is there twice')
    for (const entry of list) {
      count += 1
      if (entry.kind === 'file') bytes += entry.bytes
      if (entry.kind === 'folder') check(entry.entries, depth + 1)
      if (entry.kind === 'link' && !staysInside(entry.target, depth)) throw new Error('a link leads out')
    }
  }
  check(entries, 0)
  if (count > ENTRIES_MAX) throw new Error(`more than ${ENTRIES_MAX} files`)
  if (bytes !== contentBytes) throw new Error(`${bytes} bytes of files are listed, ${contentBytes} are there`)
  return entries
}

const isName = (name: string): boolean => name !== '.' && name !== '..' && !/[/\0]/.test(name)

/** Whether a link in a folder `depth` below the root leads to a place in the workspace, going by its text alone. */
function staysInside(target: string, depth: number): boolean {
  if (target.startsWith('/') || target.includes('\0')) return false
  let at = depth
  for (const part of target.split('/')) {
    if (part === '..') at -= 1
    else if (part !== '' && part !== '.') at += 1
    if (at < 0) return false
  }
  return true
}

const below = (folder: FileHandle, name: string): string => path.posix.join(`/proc/self/fd/${folder.fd}`, name)

/**
 * Reads a workspace. Sockets, pipes and devices are left out, and so are links that lead out of it and what is mounted
 * there. Throws when it is over a bound.
 */
export async function readWorkspace(root: string): Promise<WorkspaceArchive> {
  const pieces: Buffer[] = []
  let bytes = 0
  let count = 0
  let device: number | undefined

  const readFile = async (file: FileHandle, size: number): Promise<number> => {
    bytes += size
    if (bytes > ARCHIVE_MAX_BYTES) throw new Error(`its files are over the bound of ${ARCHIVE_MAX_BYTES} bytes`)
    const content = Buffer.alloc(size)
    let at = 0
    while (at < size) {
      const { bytesRead } = await file.read(content, at, size - at, at)
      // It has become shorter meanwhile: what is missing stays zero.
      if (bytesRead === 0) break
      at += bytesRead
    }
    pieces.push(content)
    return size
  }

  const walk = async (folder: FileHandle, depth: number): Promise<Entry[]> => {
    if (depth > DEPTH_MAX) throw new Error(`its folders are nested deeper than ${DEPTH_MAX}`)
    const entries: Entry[] = []
    for await (const { name } of await opendir(below(folder, '.'))) {
      if (name.includes('\uFFFD')) throw new Error('a file has a name that is not UTF-8')
      count += 1
      if (count > ENTRIES_MAX) throw new Error(`it holds more than ${ENTRIES_MAX} files`)
      const entry = await readEntry(folder, name, depth).catch((error: NodeJS.ErrnoException) => {
        // Removed, or exchanged for a link or something else, since the folder was listed.
        if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes(error.code ?? '')) return undefined
        throw error
      })
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  const readEntry = async (folder: FileHandle, name: string, depth: number): Promise<Entry | undefined> => {
    const at = below(folder, name)
    const seen = await lstat(at)
    if (seen.dev !== device) return undefined
    if (seen.isSymbolicLink()) {
      const target = await readlink(at)
      return target.length <= TARGET_MAX_CHARS && staysInside(target, depth)
        ? { name, kind: 'link', target }
        : undefined
    }
    if (!seen.isFile() && !seen.isDirectory()) return undefined
    // Without waiting: what was a file may be a pipe by now.
    await using opened = await open(at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (seen.isDirectory() ? O_DIRECTORY : 0))
    const stat = await opened.stat()
    const mode = stat.mode & 0o777
    if (stat.isDirectory()) return { name, kind: 'folder', mode, entries: await walk(opened, depth + 1) }
    if (!stat.isFile()) return undefined
    return { name, kind: 'file', mode, bytes: await readFile(opened, stat.size) }
  }

  await using folder = await open(root, O_RDONLY | O_DIRECTORY)
  device = (await folder.stat()).dev
  return { entries: await walk(folder, 0), contents: Buffer.concat(pieces, bytes) }
}

/** Puts an archive that `parseEntries` accepted into an empty workspace, which nothing of the guest's runs in yet. */
export async function writeWorkspace(root: string, { entries, contents }: WorkspaceArchive): Promise<void> {
  let at = 0
  const fill = async (folder: FileHandle, list: readonly Entry[]): Promise<void> => {
    for (const entry of list) {
      const place = below(folder, entry.name)
      if (entry.kind === 'link') {
        await symlink(entry.target, place)
      } else if (entry.kind === 'file') {
        await using file = await open(place, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
        await file.writeFile(contents.subarray(at, at + entry.bytes))
        await file.chmod(entry.mode)
        at += entry.bytes
      } else {
        await mkdir(place, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
          // The folder for temporary files is there from the start.
          if (error.code !== 'EEXIST') throw error
        })
        await using inner = await open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        await fill(inner, entry.entries)
        await inner.chmod(entry.mode)
      }
    }
  }
  await using folder = await open(root, O_RDONLY | O_DIRECTORY)
  await fill(folder, entries)
}
