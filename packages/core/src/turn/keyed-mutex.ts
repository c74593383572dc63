import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { WaitingLine } from './waiting-line.ts'

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
  /** Of each key that is taken. Errors give a key's length and not the key, which may be a person's name. */
  const lines = new Map<string, WaitingLine>()

  return {
    async run(key, work, { signal } = {}) {
      signal?.throwIfAborted()
      let line = lines.get(key)
      if (line === undefined) {
        line = new WaitingLine(`mutex key of ${key.length} characters`, waitingMax)
        lines.set(key, line)
      } else {
        await line.join(signal)
      }
      try {
        return await work()
      } finally {
        if (!line.next()) lines.delete(key)
      }
    }
  }
}
