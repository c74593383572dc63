import { type FileHandle, mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { lockFolder } from './folder-lock.ts'
import type { JournalDisk, JournalFile } from './journal-disk.ts'

/**
 * The file system of the machine, on libuv's pool: for what may wait its turn there. A journal that is given no disk has
 * a thread that writes to it in place of the pool, which is faster, and better under load.
 */
export const machineDisk: JournalDisk = {
  async openFolder(given) {
    // The process may go elsewhere while the folder is open.
    const path = resolve(given)
    await makeFolder(path)
    const lock = lockFolder(path)
    const fileIn = async (name: string, flags: string): Promise<JournalFile> =>
      fileOver(await open(join(path, name), flags))
    return {
      names: () => readdir(path),
      open: (name, access) => fileIn(name, access === 'read' ? 'r' : 'r+'),
      create: (name) => fileIn(name, 'w+'),
      rename: (from, to) => rename(join(path, from), join(path, to)),
      remove: (name) => unlink(join(path, name)),
      sync: () => syncFolder(path),
      close: async () => lock.release()
    }
  }
}

const fileOver = (handle: FileHandle): JournalFile => ({
  lengthBytes: async () => (await handle.stat()).size,
  read: async (target, at) => (await handle.read(target, 0, target.length, at)).bytesRead,
  write: async (bytes, at) => (await handle.write(bytes, 0, bytes.length, at)).bytesWritten,
  truncate: (lengthBytes) => handle.truncate(lengthBytes),
  sync: () => handle.sync(),
  syncData: () => handle.datasync(),
  close: () => handle.close()
})

/** What says that the folder around is not this process's to sync: whoever made the folder in it saw to its name. */
const NOT_OURS = new Set(['EACCES', 'EPERM', 'EROFS', 'EINVAL'])

/** Makes the folder when it does not exist, and its name durable; the folder around it must exist. */
async function makeFolder(path: string): Promise<void> {
  let isNew = true
  try {
    await mkdir(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    isNew = false
  }
  try {
    // Also when it was there: an opener before this one may have ended between the name and its durability.
    await syncFolder(join(path, '..'))
  } catch (error) {
    if (isNew || !NOT_OURS.has((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/** Windows cannot open a folder for that, and needs it for none of its file systems. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
