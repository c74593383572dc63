import { startWorkerThread, type WorkerThread } from './worker-thread.ts'

/** Started threads that wait for a sandbox: starting one takes 30 ms, restoring into a started one about 2 ms. */
export interface IdleThreads {
  /** A started thread when one waits, else a new one; its place is filled again in the background. */
  take(): WorkerThread
  /** Starts threads until `count` wait. */
  fill(): void
  close(): Promise<void>
}

/** Keeps up to `count` threads waiting; 0 starts each thread when it is needed. */
export function createIdleThreads(count: number): IdleThreads {
  const waiting = new Set<WorkerThread>()
  let closed = false

  const start = (): void => {
    const thread = startWorkerThread()
    waiting.add(thread)
    void thread.ended.then(() => waiting.delete(thread))
  }
  const fill = (): void => {
    while (!closed && waiting.size < count) start()
  }

  return {
    take() {
      const next = waiting.values().next()
      if (next.done === true) {
        const thread = startWorkerThread()
        // After the sandbox that is waiting for this one, not in its way.
        setImmediate(fill)
        return thread
      }
      waiting.delete(next.value)
      setImmediate(fill)
      return next.value
    },
    fill,
    async close() {
      closed = true
      await Promise.all([...waiting].map((thread) => thread.kill()))
    }
  }
}
