import { readdir, readFile, readlink, stat } from 'node:fs/promises'

/** A file as the kernel knows it, whatever its names. */
export const fileKey = (device: bigint, inode: bigint): string => `${device}:${inode}`

/** What processes have open or mapped. */
export interface OpenFiles {
  has(key: string): boolean
  /** False when some processes did not let us look, as those of other users: what they have open is not known. */
  readonly complete: boolean
}

/** Descriptors looked at in all: a look costs some 30 µs, and a machine of servers may have a million. */
const LOOKS_MAX = 200_000

/**
 * Which of the wanted files are open, by a descriptor or a memory map. The paths that `/proc` shows are those of other
 * mount namespaces, so that files are compared by device and inode.
 */
export async function openFilesAmong(wanted: ReadonlySet<string>, procRoot: string): Promise<OpenFiles> {
  const found = new Set<string>()
  let complete = true
  let looks = 0
  const missed = (error: unknown): void => {
    const code = (error as NodeJS.ErrnoException).code
    // It ended while we looked.
    if (code !== 'ENOENT' && code !== 'ESRCH') complete = false
  }

  const processes = wanted.size === 0 ? [] : (await readdir(procRoot)).filter((name) => /^\d+$/.test(name))
  for (const pid of processes) {
    try {
      for (const key of mappedFiles(await readFile(`${procRoot}/${pid}/maps`, 'latin1'))) {
        if (wanted.has(key)) found.add(key)
      }
      for (const descriptor of await readdir(`${procRoot}/${pid}/fd`)) {
        if (looks >= LOOKS_MAX) return { has: (key) => found.has(key), complete: false }
        looks += 1
        const link = `${procRoot}/${pid}/fd/${descriptor}`
        try {
          // Pipes and sockets have no path; and `stat` of a device could wait.
          if (!(await readlink(link)).startsWith('/')) continue
          const { dev, ino } = await stat(link, { bigint: true })
          const key = fileKey(dev, ino)
          if (wanted.has(key)) found.add(key)
        } catch (error) {
          missed(error)
        }
      }
    } catch (error) {
      missed(error)
    }
  }
  return { has: (key) => found.has(key), complete }
}

/** Lines of `maps`: range, rights, offset, `major:minor` in hexadecimal, inode in decimal, path. */
function* mappedFiles(maps: string): Generator<string> {
  for (const [, major, minor, inode] of maps.matchAll(/^\S+ \S+ \S+ ([\da-f]+):([\da-f]+) ([1-9]\d*) /gm)) {
    yield fileKey(deviceOf(BigInt(`0x${major}`), BigInt(`0x${minor}`)), BigInt(inode as string))
  }
}

/** As glibc's `makedev` packs them into `st_dev`. */
function deviceOf(major: bigint, minor: bigint): bigint {
  return ((major & ~0xfffn) << 32n) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | (minor & 0xffn)
}
