import { systemClock, type Timer } from '@enablement/core'
import { RuntimeError } from '../runtime-error.ts'
import type { Engine } from './worker-protocol.ts'
import { startWorkerThread, type WorkerThread } from './worker-thread.ts'

/** A sandbox that has a thread and runs nothing. */
export interface Idler {
  /** Leaves its thread, which then comes back by `giveBack` or has ended; or stays, because there is no room or it cannot. */
  park(): Promise<'parked' | 'no-room' | 'stays'>
}

/**
 * The threads of a host. One that a sandbox has left serves the next: starting one takes 30 ms, restoring into one that
 * has rehearsed about 1 ms.
 */
export interface Threads {
  /**
   * A thread, one that has rehearsed with `engine` if there is a choice. When all have a sandbox, the one that has been
   * idle longest is parked for it; when all of those run, it waits in line. Undefined once `withdrawn` aborts. Throws
   * `OVERLOADED` when the line is full or no more can be parked, and `CLOSED`.
   */
  take(engine: Engine, withdrawn?: AbortSignal): Promise<WorkerThread | undefined>
  /** Takes back a thread that holds nothing any more. */
  giveBack(thread: WorkerThread): void
  /** The sandbox could leave its thread from now on; the latest comes last. */
  idles(idler: Idler): void
  /** It could not. */
  stirs(idler: Idler): void
  /** Room for `bytes` more of parked guests; negative gives it back. False: there is none. */
  reserve(bytes: number): boolean
  close(): Promise<void>
}

/** How many threads there may be. */
export interface ThreadBounds {
  /** Kept waiting for a sandbox. */
  readonly idle: number
  readonly max: number
  /** Who may wait for one. */
  readonly line: number
  /** Of all images of parked guests. */
  readonly parkedBytes: number
}

/**
 * How long after the last take the waiting places are filled again. Starting a thread keeps two cores busy for 30 ms; the
 * sandbox that was just given one, and a burst of claims, should have them first.
 */
const FILL_DELAY_MS = 50

/**
 * How long threads that sandboxes have left are kept beyond the number that is kept anyway: under load the next sandbox
 * comes at once, and starting a thread costs thirty times what a restore does. One takes about 5 MB.
 */
const KEPT_MS = 10_000

/** Messages that a thread is sent for practice, so that reading the one that counts takes 0.1 ms less. */
const MESSAGES_REHEARSED = 32

interface Taker {
  serve(thread: WorkerThread): void
  refuse(error: Error): void
}

/** Starts none before the first is taken. */
export function createThreads(bounds: ThreadBounds): Threads {
  const all = new Set<WorkerThread>()
  const waiting = new Set<WorkerThread>()
  const line = new Set<Taker>()
  const idlers = new Set<Idler>()
  let parking = 0
  let parkedBytes = 0
  let closed = false
  let filling: Timer | undefined
  let trimming: Timer | undefined

  /** Ends what is more than is kept, once nothing has been given back for a while. */
  const trimLater = (): void => {
    trimming?.cancel()
    const trim = (): void => {
      for (const thread of [...waiting].slice(bounds.idle)) {
        // At once: ending takes a while, in which nobody must get it.
        waiting.delete(thread)
        void thread.kill()
      }
    }
    trimming = systemClock.startTimer(KEPT_MS, trim, { background: true })
  }

  const start = (): WorkerThread => {
    const thread = startWorkerThread()
    all.add(thread)
    void thread.ended.then(() => {
      all.delete(thread)
      waiting.delete(thread)
      const [taker] = line
      // Its place is free, and nobody else will tell those who wait.
      if (taker !== undefined && !closed) serve(taker, start())
    })
    return thread
  }

  const startAhead = (engine: Engine): void => {
    const thread = start()
    thread.engine = engine
    thread.post({ kind: 'rehearse', engine })
    for (let n = 0; n < MESSAGES_REHEARSED; n += 1) thread.post({ kind: 'practise' })
    waiting.add(thread)
  }

  const serve = (taker: Taker, thread: WorkerThread): void => {
    line.delete(taker)
    taker.serve(thread)
  }

  const fillLater = (engine: Engine): void => {
    filling?.cancel()
    if (closed || bounds.idle === 0) return
    const fill = (): void => {
      while (!closed && waiting.size < bounds.idle && all.size < bounds.max) startAhead(engine)
    }
    filling = systemClock.startTimer(FILL_DELAY_MS, fill, { background: true })
  }

  const waitingFor = (engine: Engine): WorkerThread | undefined => {
    const thread = [...waiting].find((one) => one.engine === engine) ?? [...waiting][0]
    if (thread !== undefined) waiting.delete(thread)
    return thread
  }

  /** Parks as many as are waited for. */
  const makeRoom = (): void => {
    while (parking < line.size) {
      const [longest] = idlers
      if (longest === undefined) return
      idlers.delete(longest)
      parking += 1
      void longest.park().then((outcome) => {
        parking -= 1
        const [taker] = line
        if (outcome === 'no-room')
          taker?.refuse(overloaded('parked sandboxes, in bytes', parkedBytes, bounds.parkedBytes))
        makeRoom()
      })
    }
  }

  const refusal = (): RuntimeError =>
    new RuntimeError('CLOSED', 'the QuickJS host was closed', { what: 'quickjs host' })

  return {
    async take(engine, withdrawn) {
      if (closed) throw refusal()
      if (withdrawn?.aborted === true) return undefined
      if (line.size === 0) {
        const thread = waitingFor(engine) ?? (all.size < bounds.max ? start() : undefined)
        if (thread !== undefined) {
          fillLater(engine)
          return thread
        }
      }
      if (line.size >= bounds.line) {
        throw overloaded('sandboxes that wait for a thread', line.size, bounds.line)
      }
      return new Promise((resolve, reject) => {
        const done = (): void => {
          line.delete(taker)
          withdrawn?.removeEventListener('abort', onWithdrawn)
        }
        const onWithdrawn = (): void => {
          done()
          resolve(undefined)
        }
        const taker: Taker = {
          serve(thread) {
            done()
            resolve(thread)
          },
          refuse(error) {
            done()
            reject(error)
          }
        }
        withdrawn?.addEventListener('abort', onWithdrawn, { once: true })
        line.add(taker)
        makeRoom()
      })
    },
    giveBack(thread) {
      const [taker] = line
      if (closed) void thread.kill()
      else if (taker !== undefined) serve(taker, thread)
      else {
        waiting.add(thread)
        if (waiting.size > bounds.idle) trimLater()
      }
    },
    idles(idler) {
      idlers.delete(idler)
      idlers.add(idler)
      makeRoom()
    },
    stirs: (idler) => void idlers.delete(idler),
    reserve(bytes) {
      if (bytes > 0 && parkedBytes + bytes > bounds.parkedBytes) return false
      parkedBytes += bytes
      return true
    },
    async close() {
      closed = true
      filling?.cancel()
      trimming?.cancel()
      for (const taker of line) taker.refuse(refusal())
      await Promise.all([...all].map((thread) => thread.kill()))
    }
  }
}

/** `what` names what there are too many of. */
export const overloaded = (what: string, count: number, limit: number): RuntimeError<'OVERLOADED'> =>
  new RuntimeError('OVERLOADED', `the QuickJS host has ${count} ${what}, and takes ${limit}`, { what, count, limit })
