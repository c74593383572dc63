/**
 * A file system, as a journal needs it. Every call may reject with an error that has the system's `code` and `syscall`, as
 * Node's have; what it was to change is then unknown, but for `write`, which a `truncate` can take back. Nothing here is
 * durable until a sync says so, and names and bytes are so apart: `JournalFile.sync` vouches for the bytes of one file,
 * `JournalFolder.sync` for the names in a folder. `journalDiskConformance` in `/testing` examines an implementation.
 */
export interface JournalDisk {
  /**
   * Opens a folder, and makes it when it does not exist (the one around it must), its name durably. Keeps every other
   * opener out, in this process and in others, until `close` or the end of the process, however that comes; throws
   * `STORE_UNAVAILABLE` to them.
   */
  openFolder(path: string): Promise<JournalFolder>
}

/** A folder that is open. Names have no separators in them. */
export interface JournalFolder {
  /** The names in it, in any order; there may be some that no journal made. */
  names(): Promise<string[]>
  /** An existing file; rejects with `ENOENT` when there is none. */
  open(name: string, access: 'read' | 'update'): Promise<JournalFile>
  /** An empty file to write, in place of one that has the name. */
  create(name: string): Promise<JournalFile>
  /** Gives a file another name, in place of one that has it: after a power cut there is one or the other. */
  rename(from: string, to: string): Promise<void>
  remove(name: string): Promise<void>
  /** Makes what was created, renamed and removed durable. */
  sync(): Promise<void>
  /** Lets others open it. Later calls do nothing. */
  close(): Promise<void>
}

/** A file that is open. */
export interface JournalFile {
  lengthBytes(): Promise<number>
  /** Fills `target` with what is at `at`, and resolves with how many bytes that were: fewer, or 0 at the end. */
  read(target: Uint8Array, at: number): Promise<number>
  /** Writes bytes at `at`, and resolves with how many of them it took: at least one, not always all. */
  write(bytes: Uint8Array, at: number): Promise<number>
  truncate(lengthBytes: number): Promise<void>
  /** Resolves when the bytes that were written before the call, and the length, survive a power cut. */
  sync(): Promise<void>
  /** The same, but for a `truncate`: what `fdatasync` promises, which is cheaper while a file grows. */
  syncData(): Promise<void>
  close(): Promise<void>
}

/** Writes all bytes: a disk may take only a part at a time, because a signal came or it is nearly full. */
export async function writeAll(file: Pick<JournalFile, 'write'>, bytes: Uint8Array, at: number): Promise<void> {
  let written = 0
  while (written < bytes.length) written += await file.write(bytes.subarray(written), at + written)
}

/** Removes a file that may be gone: a call that rejected before may have been done all the same. */
export async function removeIfThere(folder: Pick<JournalFolder, 'remove'>, name: string): Promise<void> {
  try {
    await folder.remove(name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** Up to `lengthBytes` from `at`; fewer at the end of the file. */
export async function readAt(file: JournalFile, at: number, lengthBytes: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(Math.max(0, lengthBytes))
  let filled = 0
  while (filled < bytes.length) {
    const readBytes = await file.read(bytes.subarray(filled), at + filled)
    if (readBytes === 0) break
    filled += readBytes
  }
  return bytes.subarray(0, filled)
}
