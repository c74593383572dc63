import { systemClock, type Timer } from '@enablement/core'
import type { Engine } from './worker-protocol.ts'
import { startWorkerThread, type WorkerThread } from './worker-thread.ts'

/** Started threads that wait for a sandbox: starting one takes 30 ms, restoring into one that has rehearsed about 1 ms. */
export interface IdleThreads {
  /**
   * A waiting thread, one that has rehearsed with `engine` if there is one, else a new one. Its place is filled again a
   * little later, by a thread that rehearses with the same engine: the next sandbox is likely to have the same limit.
   */
  take(engine: Engine): WorkerThread
  close(): Promise<void>
}

/**
 * How long after the last take the places are filled again. Starting a thread keeps two cores busy for 30 ms; the sandbox
 * that was just given one, and a burst of claims, should have them first.
 */
const FILL_DELAY_MS = 50

/** Messages that a thread is sent for practice, so that reading the one that counts takes 0.1 ms less. */
const MESSAGES_REHEARSED = 32

/** Keeps up to `count` threads waiting once the first sandbox was asked for; 0 starts each when it is needed. */
export function createIdleThreads(count: number): IdleThreads {
  const waiting = new Set<WorkerThread>()
  let closed = false
  let filling: Timer | undefined

  const start = (engine: Engine): void => {
    const thread = startWorkerThread()
    thread.rehearse(engine)
    for (let n = 0; n < MESSAGES_REHEARSED; n += 1) thread.post({ kind: 'practise' })
    waiting.add(thread)
    void thread.ended.then(() => waiting.delete(thread))
  }
  const fill = (engine: Engine): void => {
    while (!closed && waiting.size < count) start(engine)
  }
  const fillLater = (engine: Engine): void => {
    filling?.cancel()
    if (!closed) filling = systemClock.startTimer(FILL_DELAY_MS, () => fill(engine), { background: true })
  }

  return {
    take(engine) {
      fillLater(engine)
      const threads = [...waiting]
      const thread = threads.find(({ rehearsed }) => rehearsed === engine) ?? threads[0]
      if (thread === undefined) return startWorkerThread()
      waiting.delete(thread)
      return thread
    },
    async close() {
      closed = true
      filling?.cancel()
      await Promise.all([...waiting].map((thread) => thread.kill()))
    }
  }
}
