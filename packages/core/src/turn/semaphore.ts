import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { WaitingLine } from './waiting-line.ts'

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
  const line = new WaitingLine('semaphore', waitingMax)
  let taken = 0

  return {
    async run(work, { signal } = {}) {
      signal?.throwIfAborted()
      if (taken < places) taken += 1
      else await line.join(signal)
      try {
        return await work()
      } finally {
        // The place goes straight to the next caller, so that a newcomer cannot slip in before those who wait.
        if (!line.next()) taken -= 1
      }
    }
  }
}
