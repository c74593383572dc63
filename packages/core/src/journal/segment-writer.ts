import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parentPort, workerData } from 'node:worker_threads'
import { UNFINISHED_SUFFIX } from './segment.ts'
import type { FromWriter, ToWriter, WriteEnd, WriterData } from './writer-protocol.ts'

/*
 * The thread that writes. Its calls block, which is what it is for: on libuv's pool a sync waits behind whatever else
 * is there, and eight password hashes made 0.16 ms into 360.
 */

const port = parentPort
if (port === null) throw new Error('segment-writer runs in a worker thread')
const { folder } = workerData as WriterData

/** The segment under way. */
let active: number | undefined

port.on('message', (command: ToWriter) => {
  const end = perform(command)
  if (command.kind === 'seal') return port.postMessage(end satisfies FromWriter)
  const { bytes } = command
  port.postMessage({ ...end, bytes } satisfies FromWriter, [bytes.buffer as ArrayBuffer])
})

function perform(command: ToWriter): WriteEnd {
  if (command.kind === 'seal') return seal(command.atBytes, command.seal)
  if (command.begin !== undefined) {
    const begun = begin(command.begin.name, command.begin.header)
    if (begun.outcome !== 'synced') return begun
  }
  const end = write(command.bytes.subarray(0, command.lengthBytes), command.atBytes)
  return end.outcome === 'undone' ? { ...end, begun: command.begin !== undefined } : end
}

/** Gives a segment its name when its header is on disk, and goes on in it when the name is, too. */
function begin(name: string, header: Uint8Array): WriteEnd {
  const unfinished = join(folder, name + UNFINISHED_SUFFIX)
  let file: number | undefined
  try {
    file = openSync(unfinished, 'w')
    writeAll(file, header, 0)
  } catch (error) {
    return abandon(file, unfinished, error)
  }
  try {
    fsyncSync(file)
  } catch (error) {
    return failed(error)
  }
  try {
    renameSync(unfinished, join(folder, name))
  } catch (error) {
    return abandon(file, unfinished, error)
  }
  try {
    syncFolder()
  } catch (error) {
    return failed(error)
  }
  const finished = active
  active = file
  // Everything in it is synced: closing cannot lose any of it.
  if (finished !== undefined) closeSync(finished)
  return { outcome: 'synced' }
}

function abandon(file: number | undefined, path: string, cause: unknown): WriteEnd {
  try {
    if (file !== undefined) {
      closeSync(file)
      unlinkSync(path)
    }
  } catch {
    // The next opening removes it.
  }
  return { outcome: 'undone', begun: false, ...causeOf(cause) }
}

function write(bytes: Uint8Array, atBytes: number): WriteEnd {
  const file = active as number
  try {
    writeAll(file, bytes, atBytes)
  } catch (error) {
    return undo(file, atBytes, error)
  }
  try {
    fdatasyncSync(file)
  } catch (error) {
    return failed(error)
  }
  return { outcome: 'synced' }
}

/** Takes a write that did not fit back, durably, so that its callers can be told that it never was. */
function undo(file: number, atBytes: number, cause: unknown): WriteEnd {
  try {
    ftruncateSync(file, atBytes)
    fsyncSync(file)
  } catch (error) {
    return failed(error)
  }
  return { outcome: 'undone', begun: false, ...causeOf(cause) }
}

function seal(atBytes: number, bytes: Uint8Array): WriteEnd {
  if (active === undefined) return { outcome: 'synced' }
  const end = write(bytes, atBytes)
  closeSync(active)
  active = undefined
  return end
}

/** A write may take only a part: a signal came, or the disk is nearly full. */
function writeAll(file: number, bytes: Uint8Array, atBytes: number): void {
  let written = 0
  while (written < bytes.length) written += writeSync(file, bytes, written, bytes.length - written, atBytes + written)
}

function syncFolder(): void {
  if (process.platform === 'win32') return
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

const failed = (cause: unknown): WriteEnd => ({ outcome: 'failed', ...causeOf(cause) })

function causeOf(cause: unknown): { readonly code: string; readonly syscall: string } {
  const { code = 'UNKNOWN', syscall = 'unknown call' } = cause as NodeJS.ErrnoException
  return { code, syscall }
}
