import { Worker } from 'node:worker_threads'
import workerSource from './segment-writer.ts?worker-text'
import type { FromWriter, ToWriter, WriterData } from './writer-protocol.ts'

/** The thread that writes and syncs, one command at a time. */
export interface WriterThread {
  /** Resolves when the command is done, and never rejects; `transfer` goes to the thread and comes back. */
  perform(command: ToWriter, transfer?: readonly ArrayBuffer[]): Promise<FromWriter>
  end(): Promise<void>
}

/** Starts it. It keeps the process alive while it is at work. */
export function startWriterThread(data: WriterData): WriterThread {
  // Neither the flags nor the loaders of the process are any business of a thread that only writes bytes.
  const worker = new Worker(workerSource, { eval: true, workerData: data, execArgv: [] })
  worker.unref()
  let settle: ((end: FromWriter) => void) | undefined
  let ended = false
  const lost: FromWriter = { outcome: 'failed', code: 'THREAD_ENDED', syscall: 'the writing thread' }
  const finish = (end: FromWriter): void => {
    worker.unref()
    const waiting = settle
    settle = undefined
    waiting?.(end)
  }
  worker.on('message', finish)
  // An error ends the thread, and `exit` follows.
  worker.on('error', () => undefined)
  worker.on('exit', () => {
    ended = true
    finish(lost)
  })
  return {
    perform: (command, transfer = []) =>
      new Promise((resolve) => {
        if (ended) return resolve(lost)
        settle = resolve
        worker.ref()
        worker.postMessage(command, transfer)
      }),
    async end() {
      await worker.terminate()
    }
  }
}
