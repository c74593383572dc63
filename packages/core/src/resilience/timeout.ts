import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { withoutStack } from '../failure/without-stack.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { platformSchema } from './breaker-options.ts'
import { DeadlineQueue, QueuedDeadline } from './deadline-queue.ts'
import { AbortableCall, abortionOf, type CallOptions, type Policy, signalOf, start, type Work } from './policy.ts'

/** Bounds how long callers wait. `execute` throws `TIMED_OUT`, without a stack. */
export interface Timeout extends Policy {
  readonly timeoutMs: number
}

export interface TimeoutOptions {
  /** From 1 ms to a day. */
  readonly timeoutMs: number
  readonly platform?: Platform
}

const timeoutOptions: z.ZodType<TimeoutOptions> = z.strictObject({
  timeoutMs: z.number().min(1).max(86_400_000),
  platform: platformSchema.exactOptional()
})

/**
 * A timeout for any number of calls at once, which share one timer.
 *
 * A reply that has arrived beats the timer: after the event loop was blocked, timers run before the replies that came in
 * meanwhile are read. So when the timer fires the loop turns once more before the call is given up.
 *
 * When it is given up, the call's signal aborts and the caller gets `TIMED_OUT` at once; work that does not heed the
 * signal goes on unobserved. When the caller's signal aborts, the call's does with the same reason, and the caller gets
 * that. Whatever ends the call, no listener and no timer stays. Throws `INVALID_OPTIONS`.
 */
export function createTimeout(options: TimeoutOptions): Timeout {
  const { timeoutMs, platform = systemPlatform } = parseOptions(timeoutOptions, 'createTimeout', options)
  const queue = new DeadlineQueue(platform.clock, timeoutMs)
  return {
    timeoutMs,
    execute<T>(work: Work<T>, options?: CallOptions): Promise<T> {
      const abortion = abortionOf(options)
      if (abortion?.aborted === true) return Promise.reject(abortion.reason)
      return new Promise((resolve, reject) => {
        const run = new TimedRun(queue, timeoutMs, signalOf(options), reject)
        start(work, run.call).then(
          (value) => {
            if (run.end()) resolve(value)
          },
          (error: unknown) => {
            if (run.end()) reject(error)
          }
        )
      })
    }
  }
}

/** One call under a timeout. It ends once: by its work, its deadline or its caller's signal. */
class TimedRun extends QueuedDeadline {
  readonly call = new AbortableCall()
  readonly #queue: DeadlineQueue
  readonly #timeoutMs: number
  readonly #signal: AbortSignal | undefined
  readonly #onAbort: (() => void) | undefined
  readonly #reject: (reason: unknown) => void
  #ended = false

  constructor(
    queue: DeadlineQueue,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    reject: (reason: unknown) => void
  ) {
    super()
    this.#queue = queue
    this.#timeoutMs = timeoutMs
    this.#reject = reject
    this.#signal = signal
    queue.enter(this)
    if (signal === undefined) return
    this.#onAbort = () => this.#giveUp(signal.reason)
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Whether it had not ended before. Nothing of it stays behind. */
  end(): boolean {
    if (this.#ended) return false
    this.#ended = true
    this.#queue.leave(this)
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener('abort', this.#onAbort)
    return true
  }

  override onPassed(lateMs: number): void {
    this.#giveUp(timedOut(this.#timeoutMs, lateMs))
  }

  #giveUp(reason: unknown): void {
    if (!this.end()) return
    this.call.abort(reason)
    this.#reject(reason)
  }
}

function timedOut(timeoutMs: number, lateMs: number): CoreError<'TIMED_OUT'> {
  return withoutStack(
    () => new CoreError('TIMED_OUT', `the work had not ended after ${timeoutMs} ms`, { timeoutMs, lateMs })
  )
}
