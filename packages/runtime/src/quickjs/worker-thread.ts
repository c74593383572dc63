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

/** A thread that can hold one sandbox. */
export interface WorkerThread {
  /** The engine that it has rehearsed with. */
  readonly rehearsed: Engine | undefined
  /** Lets it rehearse. */
  rehearse(engine: Engine): void
  post(message: ToWorker, transfer?: readonly ArrayBuffer[]): void
  /** Who hears what it says; one at a time. */
  listen(listener: (message: FromWorker) => void): void
  /** Keeps the process alive while something awaits the thread. */
  hold(): void
  release(): void
  /** Resolves with the reason when the thread has ended. */
  readonly ended: Promise<string>
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
  let listener: (message: FromWorker) => void = () => undefined
  let fault: string | undefined
  let rehearsed: Engine | undefined
  worker.on('message', (message: FromWorker) => listener(message))
  worker.on('error', (error: Error) => {
    fault = error.message
  })
  const ended = new Promise<string>((resolve) => {
    worker.on('exit', (code) => resolve(fault ?? `the thread ended with code ${code}`))
  })
  let ending: Promise<unknown> | undefined
  return {
    get rehearsed() {
      return rehearsed
    },
    rehearse(engine) {
      rehearsed = engine
      worker.postMessage({ kind: 'rehearse', engine } satisfies ToWorker)
    },
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen: (next) => {
      listener = next
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
