import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { taken, unavailable } from './journal-failure.ts'

/** An empty file in the folder; only its lock means anything. */
const LOCK_FILE = 'lock'

/** SQLITE_BUSY, https://sqlite.org/rescode.html. */
const BUSY = 5

/**
 * Keeps every other opener out of a folder, in this process and in others, until `release` or the end of the process.
 *
 * Node has no call for the operating system's file locks; SQLite takes one. Such a lock ends with its process, however
 * that ends, so there is no stale one to judge, and process ids that mean nothing in another container play no part.
 * POSIX drops a process's locks on a file when it closes any descriptor of it: code in this process must not read the
 * lock file. Throws `STORE_UNAVAILABLE` when somebody else has the folder open.
 */
export function lockFolder(folder: string): { release(): void } {
  let file: DatabaseSync | undefined
  try {
    file = new DatabaseSync(join(folder, LOCK_FILE), { timeout: 0 })
    // Nothing is ever written: no rollback journal needs to lie beside it.
    file.exec('pragma journal_mode = memory; begin exclusive')
    const held = file
    return {
      release() {
        if (held.isOpen) held.close()
      }
    }
  } catch (error) {
    file?.close()
    if (((error as { readonly errcode?: number }).errcode ?? 0) % 256 === BUSY) {
      throw taken(error)
    }
    throw unavailable('open', error)
  }
}
