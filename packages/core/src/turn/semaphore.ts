import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'

/** Lets a fixed number of callers work at a time, in the order they came. */
export interface Semaphore {
  /** Runs `work` when a place is free. Throws `OVERLOADED` when `waitingMax` callers already wait, and the signal's reason. */
  run<T>(work: () => T | Promise<T>, options?: { readonly signal?: AbortSignal }): Promise<T>
}

// No places at all would let every caller wait for ever.
const semaphoreOptions: z.ZodType<{ readonly places: number; readonly waitingMax: number }> = z.strictObject({
  places: z.int().min(1),
  waitingMax: z.int().min(0)
})

/** `places` callers at a time; at most `waitingMax` wait for a place. Throws `INVALID_OPTIONS`. */
export function createSemaphore(options: { readonly places: number; readonly waitingMax: number }): Semaphore {
  const { places, waitingMax } = parseOptions(semaphoreOptions, 'createSemaphore', options)
  const queue: (() => void)[] = []
  let taken = 0

  const place = (signal: AbortSignal | undefined): Promise<void> | undefined => {
    if (taken < places) {
      taken += 1
      return undefined
    }
    if (queue.length >= waitingMax) {
      throw new CoreError('OVERLOADED', `all ${places} places are taken and ${queue.length} callers wait for one`, {
        what: 'semaphore',
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

  return {
    async run(work, { signal } = {}) {
      signal?.throwIfAborted()
      await place(signal)
      try {
        return await work()
      } finally {
        // The place goes straight to the next caller, so that a newcomer cannot slip in before those who wait.
        const next = queue.shift()
        if (next === undefined) taken -= 1
        else next()
      }
    }
  }
}
