import { Worker } from 'node:worker_threads'
import workerSource from './guest-worker.ts?worker-text'
import type { Engine, FromWorker, ToWorker } from './worker-protocol.ts'

/**
 * Native stack of the thread. QuickJS guards its own stack within it; with V8's default of 1 MiB runaway recursion in
 * the guest would end as a host error and leave the VM's stack pointer low.
 */
const STACK_MIB = 4

/**
 * Bound on the V8 heap of the thread, which holds messages, some MiB of them. V8 collects the whole heap again and again
 * once memory outside of it, here the guest's, exceeds about half of this bound: at 64 MiB a guest that fills 64 MiB
 * takes eight times as long.
 */
const HEAP_MIB = 1_024

/** Who hears a thread. */
interface ThreadListener {
  onMessage(message: FromWorker): void
  /** It is over with it; told once, also to one who begins to listen afterwards. */
  onEnded(reason: string): void
}

/** A thread that holds one sandbox at a time. */
export interface WorkerThread {
  /** The engine that it has: receiving one takes longer than a restore. */
  engine: Engine | undefined
  post(message: ToWorker, transfer?: readonly ArrayBuffer[]): void
  /** One at a time: a thread serves many sandboxes, and must keep none of those that have left it. */
  listen(listener: ThreadListener | undefined): void
  /** Keeps the process alive while something awaits the thread. */
  hold(): void
  release(): void
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>
  /** Ends it at once. */
  kill(): Promise<void>
}

/** Starts a thread. It does not keep the process alive until it is held. */
export function startWorkerThread(): WorkerThread {
  const worker = new Worker(workerSource, {
    eval: true,
    // Neither the host's environment nor its flags and streams are any business of the guest's thread.
    env: {},
    execArgv: [],
    stdin: false,
    resourceLimits: { stackSizeMb: STACK_MIB, maxOldGenerationSizeMb: HEAP_MIB }
  })
  worker.unref()
  let listener: ThreadListener | undefined
  let fault: string | undefined
  let reason: string | undefined
  worker.on('message', (message: FromWorker) => listener?.onMessage(message))
  worker.on('error', (error: Error) => {
    fault = error.message
  })
  const ended = new Promise<void>((resolve) => {
    worker.on('exit', (code) => {
      reason = fault ?? `the thread ended with code ${code}`
      listener?.onEnded(reason)
      resolve()
    })
  })
  let ending: Promise<unknown> | undefined
  return {
    engine: undefined,
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen(next) {
      listener = next
      if (reason !== undefined) next?.onEnded(reason)
    },
    hold: () => worker.ref(),
    release: () => worker.unref(),
    ended,
    async kill() {
      ending ??= worker.terminate()
      await ending
    }
  }
}
