import { type JournalFile, type JournalFolder, removeIfThere, writeAll } from './journal-disk.ts'
import { UNFINISHED_SUFFIX } from './segment.ts'
import type { ToWriter, WriteEnd } from './writer-protocol.ts'

/** What of a folder and its files a writer uses. */
export type SegmentFile = Pick<JournalFile, 'write' | 'truncate' | 'sync' | 'syncData' | 'close'>
export interface SegmentFolder extends Pick<JournalFolder, 'rename' | 'remove' | 'sync'> {
  create(name: string): Promise<SegmentFile>
}

/** Brings batches to the disk, one command at a time. Never rejects. */
export class SegmentWriter {
  readonly #folder: SegmentFolder
  /** The segment under way. */
  #active: SegmentFile | undefined
  /** The one that is being made. */
  #unfinished: SegmentFile | undefined

  constructor(folder: SegmentFolder) {
    this.#folder = folder
  }

  async perform(command: ToWriter): Promise<WriteEnd> {
    if (command.kind === 'seal') return this.#seal(command.atBytes, command.seal)
    if (command.begin !== undefined) {
      const begun = await this.#begin(command.begin.name, command.begin.header)
      if (begun.outcome !== 'synced') return begun
    }
    const end = await this.#write(command.bytes.subarray(0, command.lengthBytes), command.atBytes)
    return end.outcome === 'undone' ? { ...end, begun: command.begin !== undefined } : end
  }

  /** Gives a segment its name when its header is on disk, and goes on in it when the name is, too. */
  async #begin(name: string, header: Uint8Array): Promise<WriteEnd> {
    const unfinished = name + UNFINISHED_SUFFIX
    let file: SegmentFile | undefined
    try {
      file = await this.#folder.create(unfinished)
      this.#unfinished = file
      await writeAll(file, header, 0)
    } catch (error) {
      return this.#abandon(file, unfinished, error)
    }
    try {
      await file.sync()
    } catch (error) {
      return failed(error)
    }
    try {
      await this.#folder.rename(unfinished, name)
    } catch (error) {
      const end = await this.#abandon(file, unfinished, error)
      return this.#unname(name, end)
    }
    try {
      await this.#folder.sync()
      // Everything in the one before is synced: closing it cannot lose any of it.
      await this.#active?.close()
    } catch (error) {
      return failed(error)
    }
    this.#active = file
    this.#unfinished = undefined
    return { outcome: 'synced' }
  }

  /** Closes what a failure left open. Only when no command is under way. */
  async end(): Promise<void> {
    await Promise.allSettled([this.#active?.close(), this.#unfinished?.close()])
  }

  /**
   * A renaming that rejected may have been done: the next record may still fit in the segment before, and a later one of
   * that name would then be damage.
   */
  async #unname(name: string, end: WriteEnd): Promise<WriteEnd> {
    try {
      await removeIfThere(this.#folder, name)
      await this.#folder.sync()
    } catch (error) {
      return failed(error)
    }
    return end
  }

  async #abandon(file: SegmentFile | undefined, name: string, cause: unknown): Promise<WriteEnd> {
    this.#unfinished = undefined
    try {
      if (file !== undefined) {
        await file.close()
        await this.#folder.remove(name)
      }
    } catch {
      // The next opening removes it.
    }
    return { outcome: 'undone', begun: false, ...causeOf(cause) }
  }

  async #write(bytes: Uint8Array, atBytes: number): Promise<WriteEnd> {
    const file = this.#active as SegmentFile
    try {
      await writeAll(file, bytes, atBytes)
    } catch (error) {
      return undo(file, atBytes, error)
    }
    try {
      await file.syncData()
    } catch (error) {
      return failed(error)
    }
    return { outcome: 'synced' }
  }

  async #seal(atBytes: number, seal: Uint8Array): Promise<WriteEnd> {
    if (this.#active === undefined) return { outcome: 'synced' }
    const end = await this.#write(seal, atBytes)
    try {
      await this.#active.close()
    } catch (error) {
      return failed(error)
    }
    this.#active = undefined
    return end
  }
}

/** Takes a write that did not fit back, durably, so that its callers can be told that it never was. */
async function undo(file: SegmentFile, atBytes: number, cause: unknown): Promise<WriteEnd> {
  try {
    await file.truncate(atBytes)
    await file.sync()
  } catch (error) {
    return failed(error)
  }
  return { outcome: 'undone', begun: false, ...causeOf(cause) }
}

const failed = (cause: unknown): WriteEnd => ({ outcome: 'failed', ...causeOf(cause) })

function causeOf(cause: unknown): { readonly code: string; readonly syscall: string } {
  const { code = 'UNKNOWN', syscall = 'unknown call' } = cause as NodeJS.ErrnoException
  return { code, syscall }
}
