import { CoreError } from '../failure/core-error.ts'

/** Lets one caller at a time through per key, in the order they came. Keys without callers take no memory. */
export interface KeyedMutex {
  /**
   * Runs `work` when every earlier call for `key` has settled. Throws `OVERLOADED` when `waitingMax` calls already wait
   * for that key, and the signal's reason when it aborts before the turn has come.
   */
  run<T>(key: string, work: () => T | Promise<T>, options?: { readonly signal?: AbortSignal }): Promise<T>
}

/** `waitingMax` bounds the callers that may wait for one key; the default of 1,024 is far above what fairness needs. */
export function createKeyedMutex(options: { readonly waitingMax?: number } = {}): KeyedMutex {
  const { waitingMax = 1_024 } = options
  const waiting = new Map<string, (() => void)[]>()

  const release = (key: string): void => {
    const queue = waiting.get(key)
    const next = queue?.shift()
    if (next === undefined) waiting.delete(key)
    else next()
  }

  return {
    async run(key, work, { signal } = {}) {
      signal?.throwIfAborted()
      const queue = waiting.get(key)
      if (queue === undefined) waiting.set(key, [])
      else await turn(queue, key, waitingMax, signal)
      try {
        return await work()
      } finally {
        release(key)
      }
    }
  }
}

function turn(queue: (() => void)[], key: string, waitingMax: number, signal: AbortSignal | undefined): Promise<void> {
  if (queue.length >= waitingMax) {
    throw new CoreError('OVERLOADED', `${queue.length} callers already wait for their turn on one key`, {
      what: `mutex key of ${key.length} characters`,
      waiting: queue.length,
      limit: waitingMax
    })
  }
  return new Promise((resolve, reject) => {
    const enter = (): void => {
      signal?.removeEventListener('abort', leave)
      resolve()
    }
    const leave = (): void => {
      queue.splice(queue.indexOf(enter), 1)
      reject(signal?.reason as Error)
    }
    queue.push(enter)
    signal?.addEventListener('abort', leave, { once: true })
  })
}
