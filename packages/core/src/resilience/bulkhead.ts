import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { platformSchema } from './breaker-options.ts'
import { DeadlineQueue, QueuedDeadline } from './deadline-queue.ts'
import { abortionOf, type CallOptions, callOf, type Policy, signalOf, start, type Work } from './policy.ts'

/**
 * Bounds how many calls are under way at once, so that one slow callee cannot hold all that the process has. `execute`
 * throws `OVERLOADED` when all places are taken and as many callers wait as may, or when a caller has waited for as long
 * as it may; the work was not begun.
 */
export interface Bulkhead extends Policy {
  readonly running: number
  readonly waiting: number
}

export interface BulkheadOptions {
  /** What it protects, for errors. At most 200 characters, no secret. */
  readonly name: string
  /** Calls under way at once. */
  readonly runningMax: number
  /** Callers that wait for a place, in the order they came; 0, which is nobody, unless given. */
  readonly waitingMax?: number
  /** How long each waits at most; until its signal aborts, unless given. */
  readonly waitMaxMs?: number
  readonly platform?: Platform
}

const bulkheadOptions: z.ZodType<BulkheadOptions> = z.strictObject({
  name: z.string().min(1).max(200),
  runningMax: z.int().min(1).max(1_000_000),
  waitingMax: z.int().min(0).max(1_000_000).exactOptional(),
  waitMaxMs: z.number().min(1).max(86_400_000).exactOptional(),
  platform: platformSchema.exactOptional()
})

/** Throws `INVALID_OPTIONS`. */
export function createBulkhead(options: BulkheadOptions): Bulkhead {
  const parsed = parseOptions(bulkheadOptions, 'createBulkhead', options)
  const { name, runningMax, waitingMax = 0, waitMaxMs, platform = systemPlatform } = parsed
  const deadlines = waitMaxMs === undefined ? undefined : new DeadlineQueue(platform.clock, waitMaxMs)
  /** Sets keep the order of arrival, and one who gives up leaves from the middle at no cost. */
  const line = new Set<() => void>()
  let running = 0

  const overloaded = (why: string): CoreError<'OVERLOADED'> =>
    new CoreError('OVERLOADED', `all ${runningMax} places of the bulkhead ${name} are taken, and ${why}`, {
      what: `bulkhead ${name}`,
      waiting: line.size,
      limit: waitingMax
    })

  const place = (signal: AbortSignal | undefined): Promise<void> => {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        line.delete(enter)
        signal?.removeEventListener('abort', onAbort)
        deadlines?.leave(deadline)
      }
      const enter = (): void => {
        leave()
        resolve()
      }
      const onAbort = (): void => {
        leave()
        reject(signal?.reason)
      }
      const deadline = new WaitingDeadline(() => {
        leave()
        reject(overloaded(`none came free within ${waitMaxMs} ms`))
      })
      line.add(enter)
      signal?.addEventListener('abort', onAbort, { once: true })
      deadlines?.enter(deadline)
    })
  }

  /** The place goes straight to who has waited longest, so that a newcomer cannot slip in. */
  const vacate = (): void => {
    const [next] = line
    if (next === undefined) running -= 1
    else next()
  }

  return {
    get running() {
      return running
    },
    get waiting() {
      return line.size
    },
    async execute<T>(work: Work<T>, options?: CallOptions): Promise<T> {
      const abortion = abortionOf(options)
      if (abortion?.aborted === true) throw abortion.reason
      if (running < runningMax) running += 1
      else if (line.size >= waitingMax) throw overloaded(`${line.size} callers wait for one`)
      else await place(signalOf(options))
      try {
        return await start(work, callOf(options))
      } finally {
        vacate()
      }
    }
  }
}

/** How long a caller waits for its place. */
class WaitingDeadline extends QueuedDeadline {
  override readonly onPassed: () => void

  constructor(onPassed: () => void) {
    super()
    this.onPassed = onPassed
  }
}
