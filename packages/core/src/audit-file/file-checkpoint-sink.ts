import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { type Checkpoint, readCheckpoint } from '../audit/checkpoint.ts'
import {
  type CheckpointOffer,
  type CheckpointSink,
  type CheckpointVerdict,
  judgeOffer,
  offeredCheckpoint
} from '../audit/checkpoint-sink.ts'
import { NoteSplitter } from '../audit/note-splitter.ts'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { createSemaphore } from '../turn/semaphore.ts'

/** Where checkpoints are written. */
export interface FileCheckpointSinkOptions {
  /** The file, made when it does not exist; its folder must. Best on a disk that the log's database is not on. */
  readonly path: string
}

/** A file of checkpoints. */
export interface FileCheckpointSink extends CheckpointSink, AsyncDisposable {
  /** Waits for the offers under way and lets the file go. Calls made later throw `CLOSED`. */
  close(): Promise<void>
}

const optionsSchema: z.ZodType<FileCheckpointSinkOptions> = z.strictObject({
  path: z
    .string()
    .min(1)
    .refine((path) => !path.includes('\0'), 'must not contain a NUL character')
})

/** What is read of the file at a time. */
const CHUNK_BYTES = 262_144

/** The longest line that is kept while its end is not read: far above that of any checkpoint. */
const LINE_BYTES_MAX = 1_048_576

/** Offers that may wait; a sealer makes one at a time. */
const WAITING_MAX = 1_024

const NEWLINE = 0x0a

/**
 * Every checkpoint at the end of a file, synced before it counts as kept. `verify-audit --checkpoints` reads it, and
 * `chattr +a` keeps everybody from doing more than appending. The newest of each log is kept in memory, up to a kilobyte.
 *
 * A note whose writer died half way stays as a stray fragment, which is passed over. Several processes may have the file
 * open, one of them writing at a time, as the sealer's lock has it: what others have appended is read before each offer
 * is judged.
 *
 * Throws `INVALID_OPTIONS`. Calls throw `STORE_UNAVAILABLE` when the file cannot be read or written, and all that follow
 * a failed sync do: what was written may be lost although later syncs succeed.
 */
export function fileCheckpointSink(options: FileCheckpointSinkOptions): FileCheckpointSink {
  const { path } = parseOptions(optionsSchema, 'fileCheckpointSink', options)
  const turns = createSemaphore({ places: 1, waitingMax: WAITING_MAX })
  const newest = new Map<string, { readonly checkpoint: Checkpoint; readonly note: string }>()
  const splitter = new NoteSplitter()
  let file: FileHandle | undefined
  let readBytes = 0
  /** The beginning of a line whose end has not been read. */
  let dangling: Uint8Array = new Uint8Array(0)
  let unsynced = false
  let closed = false

  const learn = (note: string | undefined): void => {
    const checkpoint = note === undefined ? undefined : readCheckpoint(note)
    if (note === undefined || checkpoint === undefined) return
    const known = newest.get(checkpoint.origin)
    if (known === undefined || known.checkpoint.size < checkpoint.size)
      newest.set(checkpoint.origin, { checkpoint, note })
  }

  const opened = async (): Promise<FileHandle> => {
    if (closed) throw new CoreError('CLOSED', 'the checkpoint file was closed', { what: 'checkpoint file' })
    if (unsynced) throw unavailable('sync')
    if (file === undefined) {
      file = await open(path, 'a+', 0o600)
      const folder = await open(dirname(path), 'r')
      try {
        await folder.sync()
      } finally {
        await folder.close()
      }
    }
    return file
  }

  /** Takes in what has been appended since the last look, by whomever. */
  const catchUp = async (handle: FileHandle): Promise<void> => {
    const buffer = new Uint8Array(CHUNK_BYTES)
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, readBytes)
      if (bytesRead === 0) break
      readBytes += bytesRead
      const lines = Buffer.concat([dangling, buffer.subarray(0, bytesRead)])
      let begin = 0
      for (let end = lines.indexOf(NEWLINE); end >= 0; end = lines.indexOf(NEWLINE, begin)) {
        learn(splitter.push(lines.toString('utf8', begin, end)))
        begin = end + 1
      }
      dangling = Uint8Array.from(lines.subarray(begin))
      if (dangling.length > LINE_BYTES_MAX) throw damaged()
    }
  }

  const append = async (handle: FileHandle, note: string): Promise<void> => {
    // Whatever somebody left behind, the tilde makes the fragment of a line no part of a note, and the empty line ends it.
    const end = dangling.length > 0 ? '~\n\n' : '\n'
    await handle.appendFile(`${readBytes > 0 ? end : ''}${note}\n`)
    try {
      await handle.datasync()
    } catch (error) {
      unsynced = true
      throw error
    }
  }

  const keep = async (offer: CheckpointOffer): Promise<CheckpointVerdict> => {
    const { origin } = offeredCheckpoint(offer)
    const handle = await opened()
    await catchUp(handle)
    const verdict = judgeOffer(newest.get(origin)?.checkpoint, offer)
    if (verdict.outcome !== 'keep') return verdict
    await append(handle, offer.note)
    await catchUp(handle)
    return { outcome: 'kept' }
  }

  /** One call at a time, its failures in core's terms. */
  const inTurn = <T>(operation: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> =>
    turns.run(
      async () => {
        try {
          return await work()
        } catch (error) {
          throw error instanceof CoreError ? error : unavailable(operation, error)
        }
      },
      signal === undefined ? {} : { signal }
    )

  const close = (): Promise<void> =>
    turns.run(async () => {
      closed = true
      const handle = file
      file = undefined
      await handle?.close()
    })

  return {
    supports: { durable: 'power-loss' },
    newest: (origin, { signal } = {}) =>
      inTurn('read', signal, async () => {
        await catchUp(await opened())
        return newest.get(origin)?.note
      }),
    keep: (offer, { signal } = {}) => inTurn('append', signal, () => keep(offer)),
    close,
    [Symbol.asyncDispose]: close
  }
}

function unavailable(operation: string, cause?: unknown): CoreError<'STORE_UNAVAILABLE'> {
  const message = `the checkpoint file failed to ${operation}`
  return new CoreError('STORE_UNAVAILABLE', message, { store: 'checkpoint file', operation }, { cause })
}

function damaged(): CoreError<'STORE_DAMAGED'> {
  const reason = `the checkpoint file has a line of more than ${LINE_BYTES_MAX} bytes`
  return new CoreError('STORE_DAMAGED', reason, { store: 'checkpoint file', reason })
}
