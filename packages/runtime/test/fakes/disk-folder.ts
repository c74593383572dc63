import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A temporary folder to be filled. */
export interface DiskFolder extends Disposable {
  readonly root: string
  /** Writes a file of so many kibibytes that take blocks, and the folders above it. Gives its whole path. */
  write(path: string, kibibytes: number, fill?: number): string
  at(path: string): string
}

/** A folder to look for processes in where a test is not about what is open: looking at all of them takes a while. */
export const noProcesses = '/usr'

export function diskFolder(): DiskFolder {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'disk-')))
  return {
    root,
    at: (path) => join(root, path),
    write(path, kibibytes, fill = 7) {
      const whole = join(root, path)
      mkdirSync(dirname(whole), { recursive: true })
      writeFileSync(whole, Buffer.alloc(kibibytes * 1_024, fill))
      return whole
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true })
  }
}
