import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeSync
} from 'node:fs'

/**
 * What a control group asks of the operating system. All but `exists` and `canWrite` throw errors with a `code`, as
 * `node:fs` does. Tests put a kernel of their own behind it.
 */
export interface CgroupKernel {
  read(path: string): string
  write(path: string, text: string): void
  exists(path: string): boolean
  canWrite(path: string): boolean
  /** Names of the folders inside. */
  folders(path: string): readonly string[]
  makeFolder(path: string): void
  removeFolder(path: string): void
  /** Sends SIGKILL. */
  kill(pid: number): void
}

export const linuxKernel: CgroupKernel = {
  read: (path) => readFileSync(path, 'latin1'),
  // Not `O_CREAT`: where the kernel has no such file, none must appear (a plain folder would take it).
  write: (path, text) => {
    const file = openSync(path, constants.O_WRONLY)
    try {
      writeSync(file, text)
    } finally {
      closeSync(file)
    }
  },
  exists: existsSync,
  canWrite: (path) => {
    try {
      accessSync(path, constants.W_OK)
      return true
    } catch {
      return false
    }
  },
  folders: (path) =>
    readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name),
  makeFolder: (path) => mkdirSync(path),
  removeFolder: rmdirSync,
  kill: (pid) => void process.kill(pid, 'SIGKILL')
}
