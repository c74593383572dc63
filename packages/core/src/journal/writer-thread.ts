import { Worker } from 'node:worker_threads'
import workerSource from './writer-program.ts?worker-text'
import type { BatchWriter, FromWriter, WriterData } from './writer-protocol.ts'

/** Starts a thread that writes. It keeps the process alive while it is at work. */
export function startWriterThread(data: WriterData): BatchWriter {
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
