import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, link, lstat, open, readdir, rename, unlink } from 'node:fs/promises'
import { RuntimeError } from '../runtime-error.ts'

/**
 * A folder held open. What is named in it is found through the descriptor (`/proc/self/fd/N/name`), so that it is the
 * same folder whatever became of its path: nobody can put a symbolic link in its place.
 */
export interface OpenFolder extends AsyncDisposable {
  readonly device: bigint
  lstat(name: string): Promise<BigIntStats>
  /** Names that are not UTF-8 are left out and counted. */
  names(): Promise<{ readonly names: readonly string[]; readonly unnameable: number }>
  unlink(name: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Renames without replacing what may be there; then both stay. */
  putBack(from: string, to: string): Promise<void>
  /** Opens a folder in it. Rejects with ELOOP or ENOTDIR when the name is a link or no folder. */
  openFolder(name: string): Promise<OpenFolder>
}

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** Opens the root itself. Its own path may lead through links, as `/var/run` does: whoever configured it chose it. */
export async function openRoot(root: string): Promise<OpenFolder> {
  if (process.platform !== 'linux') {
    const message = `folders are held open through /proc/self/fd, which ${process.platform} does not have`
    throw new RuntimeError('NOT_SUPPORTED', message, { host: process.platform, capability: 'disk' })
  }
  return held(await open(root, constants.O_RDONLY | constants.O_DIRECTORY))
}

async function held(handle: FileHandle): Promise<OpenFolder> {
  const here = `/proc/self/fd/${handle.fd}`
  const at = (name: string): string => `${here}/${name}`
  try {
    const { dev } = await handle.stat({ bigint: true })
    return {
      device: dev,
      lstat: (name) => lstat(at(name), { bigint: true }),
      async names() {
        const raw = await readdir(here, { encoding: 'buffer' })
        const names = raw.map(String).filter((name, index) => Buffer.from(name).equals(raw[index] as Buffer))
        return { names, unnameable: raw.length - names.length }
      },
      unlink: (name) => unlink(at(name)),
      rename: (from, to) => rename(at(from), at(to)),
      async putBack(from, to) {
        try {
          await link(at(from), at(to))
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          if (code === 'EEXIST') return
          // A folder has no hard links. Renamed onto anything but an empty folder it is refused, and stays too.
          if (code !== 'EPERM') throw error
          return rename(at(from), at(to)).catch(() => undefined)
        }
        await unlink(at(from))
      },
      openFolder: async (name) => held(await open(at(name), FLAGS)),
      [Symbol.asyncDispose]: () => handle.close()
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Whether it is a repository of git's itself, such as `project.git`; the `.git` of a work tree is known by its name. */
export async function isBareRepository(folder: OpenFolder): Promise<boolean> {
  const marks = await Promise.allSettled(['HEAD', 'objects', 'refs'].map((name) => folder.lstat(name)))
  return marks.every((mark) => mark.status === 'fulfilled')
}
