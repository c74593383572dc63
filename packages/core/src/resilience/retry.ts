import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { sleep } from '../time/sleep.ts'
import { type Backoff, backoffMs, backoffSchema } from './backoff.ts'
import { classificationSchema, platformSchema } from './breaker-options.ts'
import { type Classification, classifyError, classifyValue, hadNoEffect, statusOf } from './classification.ts'
import { abortionOf, type Call, type CallOptions, callOf, LazyCall, type Policy, signalOf, start } from './policy.ts'
import { retryAfterOf } from './retry-after.ts'
import type { RetryBudget } from './retry-budget.ts'
import { createTimeout } from './timeout.ts'

/** What work is told about an attempt. */
export interface AttemptCall extends Call {
  /** 1 for the first. */
  readonly attempt: number
}

/** What an operator should hear of. */
export type RetryEvent =
  /** `attempt` failed, and there will be another in `delayMs`. */
  | { readonly type: 'retry.waiting'; readonly attempt: number; readonly delayMs: number }
  /** `attempt` failed, and there will be no other, although its failure is one that others are made after. */
  | {
      readonly type: 'retry.given-up'
      readonly attempt: number
      /** `effects`: it may have had an effect. `retry-after`: the callee asks to wait longer than is allowed. */
      readonly reason: 'attempts' | 'effects' | 'retry-after' | 'deadline' | 'budget'
    }

export interface RetryOptions {
  /**
   * Whether work may be done twice. `repeatable`: it is idempotent, or carries an idempotency key that the callee heeds.
   * `once`: only what proves to have had no effect is tried again: a connection that was never made, a 429.
   */
  readonly effects: 'repeatable' | 'once'
  /** Attempts in all, 2 to 100; 3 unless given. */
  readonly attemptsMax?: number
  /** Full jitter from 200 ms to 20 s unless given. */
  readonly backoff?: Backoff
  /** What retries towards one callee share; without it every failure is tried again. */
  readonly budget?: RetryBudget
  /** How long all attempts and waits may take together; no bound unless given. */
  readonly deadlineMs?: number
  /** The longest `Retry-After` that is waited for; 60,000 ms unless given. One that is longer ends the attempts. */
  readonly retryAfterMaxMs?: number
  /** What is worth another attempt: failures are. */
  readonly classification?: Classification
  readonly platform?: Platform
  /** What it throws is dropped. */
  readonly observe?: (event: RetryEvent) => void
}

/** Tries failed work again. A call that succeeded, or was ignored, is not. */
export interface Retry extends Policy {
  execute<T>(work: (call: AttemptCall) => T | PromiseLike<T>, options?: CallOptions): Promise<T>
}

const BACKOFF: Backoff = { jitter: 'full', baseMs: 200, maxMs: 20_000 }
const ATTEMPTS_MAX = 3
const RETRY_AFTER_MAX_MS = 60_000

const retryOptions: z.ZodType<RetryOptions> = z.strictObject({
  effects: z.enum(['repeatable', 'once']),
  attemptsMax: z.int().min(2).max(100).exactOptional(),
  backoff: backoffSchema.exactOptional(),
  budget: z
    .custom<RetryBudget>((value) => typeof value === 'object' && value !== null && 'spend' in value)
    .exactOptional(),
  deadlineMs: z.number().min(1).max(86_400_000).exactOptional(),
  retryAfterMaxMs: z.number().min(0).max(86_400_000).exactOptional(),
  classification: classificationSchema.exactOptional(),
  platform: platformSchema.exactOptional(),
  observe: z.custom<(event: RetryEvent) => void>((value) => typeof value === 'function').exactOptional()
})

class Attempt extends LazyCall implements AttemptCall {
  readonly attempt: number
  readonly #call: Call

  constructor(call: Call, attempt: number) {
    super()
    this.#call = call
    this.attempt = attempt
  }

  get signal(): AbortSignal {
    return this.#call.signal
  }

  get aborted(): boolean {
    return abortionOf(this.#call)?.aborted === true
  }

  get reason(): unknown {
    return abortionOf(this.#call)?.reason
  }
}

/**
 * A retry. When the attempts are over, the last one's end is the caller's: what it returned, such as a response with 503,
 * or threw. A wait that would outlast the deadline is not begun, and the last end is the caller's at once; an attempt that
 * does is aborted, and the caller gets `TIMED_OUT`. A callee's `Retry-After` is waited out in full, and then the usual
 * wait, so that those who were told the same time do not come together.
 *
 * Around a circuit breaker it asks the breaker before every attempt and stops when that opens, since `CIRCUIT_OPEN` is no
 * failure; inside one, the breaker sees all attempts as one call. Throws `INVALID_OPTIONS`.
 */
export function createRetry(options: RetryOptions): Retry {
  const parsed = parseOptions(retryOptions, 'createRetry', options)
  const { effects, attemptsMax = ATTEMPTS_MAX, backoff = BACKOFF, budget, deadlineMs, classification = {} } = parsed
  const { retryAfterMaxMs = RETRY_AFTER_MAX_MS, platform = systemPlatform, observe } = parsed
  const { value: judgeValue = classifyValue, error: judgeError = classifyError } = classification
  const { clock, random } = platform
  const total = deadlineMs === undefined ? undefined : createTimeout({ timeoutMs: deadlineMs, platform })

  const report = reporter<RetryEvent>(observe)

  /** Why there is no other attempt, or what the callee asks to wait before it. */
  const answer = (ended: PromiseSettledResult<unknown>, attempt: number) => {
    const end: unknown = ended.status === 'fulfilled' ? ended.value : ended.reason
    if (attempt >= attemptsMax) return 'attempts'
    const harmless = ended.status === 'fulfilled' ? statusOf(end) === 429 : hadNoEffect(end)
    if (effects === 'once' && !harmless) return 'effects'
    const askedMs = retryAfterOf(end, clock.now()) ?? 0
    return askedMs > retryAfterMaxMs ? 'retry-after' : askedMs
  }

  const attempts = async <T>(work: (call: AttemptCall) => T | PromiseLike<T>, options?: CallOptions): Promise<T> => {
    const call = callOf(options)
    const givenUp = (): boolean => abortionOf(options)?.aborted === true
    if (givenUp()) throw abortionOf(options)?.reason
    const endsAt = deadlineMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() + deadlineMs
    let backedOffMs = 0
    for (let attempt = 1; ; attempt++) {
      const [ended] = await Promise.allSettled([start(() => work(new Attempt(call, attempt)), call)])
      const verdict = ended.status === 'fulfilled' ? judgeValue(ended.value) : judgeError(ended.reason)
      if (verdict === 'success' && attempt === 1) budget?.earn()
      const leave = (): T => {
        if (ended.status === 'rejected') throw ended.reason
        return ended.value
      }
      if (verdict !== 'failure' || givenUp()) return leave()
      const giveUp = (reason: Extract<RetryEvent, { type: 'retry.given-up' }>['reason']): T => {
        report({ type: 'retry.given-up', attempt, reason })
        return leave()
      }
      const asked = answer(ended, attempt)
      if (typeof asked === 'string') return giveUp(asked)
      backedOffMs = backoffMs(backoff, attempt, backedOffMs, random)
      const delayMs = asked + backedOffMs
      if (clock.monotonic() + delayMs >= endsAt) return giveUp('deadline')
      if (budget?.spend() === false) return giveUp('budget')
      report({ type: 'retry.waiting', attempt, delayMs })
      await sleep(clock, delayMs, { signal: signalOf(options) })
    }
  }

  return {
    execute: (work, options) =>
      total === undefined ? attempts(work, options) : total.execute((call) => attempts(work, call), options)
  }
}
