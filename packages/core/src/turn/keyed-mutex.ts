import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'

/** Lets one caller at a time through per key, in the order they came. Keys without callers take no memory. */
export interface KeyedMutex {
  /**
   * Runs `work` when every earlier call for `key` has settled. Throws `OVERLOADED` when `waitingMax` calls already wait
   * for that key, and the signal's reason when it aborts before the turn has come.
   */
  run<T>(key: string, work: () => T | Promise<T>, options?: { readonly signal?: AbortSignal }): Promise<T>
}

/** Far above what a key sees in its life, and low enough that the last in the line is still of use to its caller. */
const WAITING_MAX = 1_024

const mutexOptions: z.ZodType<{ readonly waitingMax?: number }> = z.strictObject({
  waitingMax: z.int().min(0).exactOptional()
})

/** At most `waitingMax` callers wait for one key, 1,024 unless given. Throws `INVALID_OPTIONS`. */
export function createKeyedMutex(options: { readonly waitingMax?: number } = {}): KeyedMutex {
  const { waitingMax = WAITING_MAX } = parseOptions(mutexOptions, 'createKeyedMutex', options)
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
