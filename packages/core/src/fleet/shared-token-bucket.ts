import { z } from 'zod'
import { createIdSource } from '../chance/uuid-v7.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { nameSchema } from '../lock/lock-store.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { platformSchema } from '../resilience/breaker-options.ts'
import type { BucketRefusal, BucketRule } from '../resilience/bucket-level.ts'
import { abortionOf, type CallOptions, callOf, type Policy, signalOf, start, type Work } from '../resilience/policy.ts'
import { createTokenBucket, pauseOptions, throttled, waitSchema } from '../resilience/token-bucket.ts'
import { sleep } from '../time/sleep.ts'
import { type StoreQuestion, storeQuestion } from './store-question.ts'
import { bucketRuleSchema, type TokenBucketStore, tokensSchema } from './token-bucket-store.ts'

/** What an operator should hear of. */
export type SharedTokenBucketEvent =
  /** The store failed or did not answer in time. Until it does, claims end as `onStoreFailure` says. */
  | { readonly type: 'token-bucket.store-failed'; readonly bucket: string; readonly error: unknown }
  /** The store has answered again. */
  | { readonly type: 'token-bucket.store-answers'; readonly bucket: string }

export interface SharedTokenBucketOptions extends BucketRule {
  /** Which bucket of the store: `api.example.com`. 1 to 256 characters, no secret. */
  readonly name: string
  readonly store: TokenBucketStore
  /**
   * What happens to a claim that the store does not answer. `throw`: it throws what the store threw, and the work is not
   * begun. `alone`: a bucket of this process decides, with the whole rate, so that n processes let through n times as much
   * until the store answers.
   */
  readonly onStoreFailure: 'throw' | 'alone'
  /** After this long without an answer the store has failed; 250 ms unless given, from 1 ms to a minute. */
  readonly storeTimeoutMs?: number
  /** How long `execute` waits for a token; 0, which is not at all, unless given. */
  readonly waitMaxMs?: number
  readonly platform?: Platform
  /** What it throws is dropped. */
  readonly observe?: (event: SharedTokenBucketEvent) => void
}

/** Tokens that are the caller's from `waitMs` after the answer. */
export interface SharedReservation {
  readonly outcome: 'reserved'
  readonly waitMs: number
  /**
   * Puts back what it can, as `TokenBucketStore.cancel`, and gives how many tokens that is; a second time 0. Throws what
   * the store throws, after which the tokens are spent unless it is called again.
   */
  cancel(): Promise<number>
}

/** A token bucket that processes share: the rate holds over all of them together. */
export interface SharedTokenBucket extends Policy {
  /** Takes `tokens` (1 unless given) if they are there. */
  take(tokens?: number): Promise<{ readonly outcome: 'taken' } | BucketRefusal>
  /** Takes `tokens` that may still have to come in, unless that would take longer than `waitMaxMs`, a day unless given. */
  reserve(tokens?: number, options?: { readonly waitMaxMs?: number }): Promise<SharedReservation | BucketRefusal>
  /**
   * Gives nobody tokens for `durationMs`, up to a day, as a server asks for with `Retry-After`; see
   * `TokenBucketStore.pause`. The bucket of this process pauses in any case, and the shared one does not where the store
   * fails, which throws or is passed over as `onStoreFailure` says.
   */
  pause(durationMs: number): Promise<void>
  /**
   * Takes one token and then does the work, waiting up to `waitMaxMs` of the options for it. Throws `THROTTLED`, without
   * a stack, when that is not long enough. A caller that gives up while it waits gets its token put back.
   */
  execute<T>(work: Work<T>, options?: CallOptions): Promise<T>
  /** Whether the store answered when it was last asked, or has not been asked yet. */
  readonly storeAnswers: boolean
}

const DAY_MS = 86_400_000
/** As long as a call may be held up by its rate limit for nothing. */
const STORE_TIMEOUT_MS = 250
/** Claims at once of one process; each is a call that would be made. */
const OUTSTANDING_MAX = 10_000

const optionsSchema: z.ZodType<Omit<SharedTokenBucketOptions, keyof BucketRule>> = z.strictObject({
  name: nameSchema,
  store: z.custom<TokenBucketStore>((value) => typeof value === 'object' && value !== null && 'reserve' in value),
  onStoreFailure: z.enum(['throw', 'alone']),
  storeTimeoutMs: z.number().min(1).max(60_000).exactOptional(),
  waitMaxMs: waitSchema.exactOptional(),
  platform: platformSchema.exactOptional(),
  observe: z.custom<(event: SharedTokenBucketEvent) => void>((value) => typeof value === 'function').exactOptional()
})

const reserveOptions: z.ZodType<{ readonly tokens: number; readonly waitMaxMs?: number }> = z.strictObject({
  tokens: tokensSchema,
  waitMaxMs: waitSchema.exactOptional()
})

/**
 * A token bucket over a `TokenBucketStore`. Every claim asks the store, with a key of its own, and never for longer than
 * `storeTimeoutMs`; a claim that is given up for that may have taken its tokens all the same. Throws `INVALID_OPTIONS`.
 */
export function createSharedTokenBucket(options: SharedTokenBucketOptions): SharedTokenBucket {
  const subject = 'createSharedTokenBucket'
  const { perSecond, burst, ...rest } = options
  const rule = parseOptions(bucketRuleSchema, subject, { perSecond, burst })
  const parsed = parseOptions(optionsSchema, subject, rest)
  const { name, store, onStoreFailure, storeTimeoutMs = STORE_TIMEOUT_MS, waitMaxMs = 0, observe } = parsed
  const { platform = systemPlatform } = parsed
  const { clock } = platform
  const idempotencyKey = createIdSource(platform)
  const question = storeQuestion({
    what: `token bucket ${name}`,
    timeoutMs: storeTimeoutMs,
    outstandingMax: OUTSTANDING_MAX,
    platform
  })
  const own = createTokenBucket({ ...rule, platform })
  const report = reporter(observe)
  let storeAnswers = true

  const turn = (to: boolean, event: SharedTokenBucketEvent): void => {
    if (storeAnswers === to) return
    storeAnswers = to
    report(event)
  }

  const ask: StoreQuestion = async (asked) => {
    try {
      const answer = await question(asked)
      turn(true, { type: 'token-bucket.store-answers', bucket: name })
      return answer
    } catch (error) {
      turn(false, { type: 'token-bucket.store-failed', bucket: name, error })
      throw error
    }
  }

  const claim = async (tokens: number, longestMs: number): Promise<SharedReservation | BucketRefusal> => {
    const key = idempotencyKey()
    try {
      const answer = await ask(() => store.reserve(name, { rule, tokens, waitMaxMs: longestMs, idempotencyKey: key }))
      if (answer.outcome === 'throttled' || answer.outcome === 'exceeds-burst') return answer
      // A key that was just made cannot have been cancelled; were it, the tokens are not the caller's.
      if (answer.outcome === 'cancelled') return { outcome: 'throttled', retryAfterMs: 0 }
      return { ...answer, cancel: () => ask(() => store.cancel(name, key)) }
    } catch (error) {
      if (onStoreFailure === 'throw') throw error
      const reserved = own.reserve(tokens, { waitMaxMs: longestMs })
      if (reserved.outcome !== 'reserved') return reserved
      return { ...reserved, cancel: async () => reserved.cancel() }
    }
  }

  return {
    get storeAnswers() {
      return storeAnswers
    },
    async take(tokens = 1) {
      const answer = await claim(parseOptions(reserveOptions, 'sharedTokenBucket.take', { tokens }).tokens, 0)
      return answer.outcome === 'reserved' ? { outcome: 'taken' } : answer
    },
    async reserve(tokens = 1, given = {}) {
      const checked = parseOptions(reserveOptions, 'sharedTokenBucket.reserve', { ...given, tokens })
      return claim(checked.tokens, checked.waitMaxMs ?? DAY_MS)
    },
    async pause(durationMs) {
      own.pause(parseOptions(pauseOptions, 'sharedTokenBucket.pause', { durationMs }).durationMs)
      try {
        await ask(() => store.pause(name, { rule, durationMs }))
      } catch (error) {
        if (onStoreFailure === 'throw') throw error
      }
    },
    async execute<T>(work: Work<T>, callOptions?: CallOptions): Promise<T> {
      const abortion = abortionOf(callOptions)
      if (abortion?.aborted === true) throw abortion.reason
      const reserved = await claim(1, waitMaxMs)
      if (reserved.outcome !== 'reserved') throw throttled(reserved)
      try {
        const left = abortionOf(callOptions)
        if (left?.aborted === true) throw left.reason
        if (reserved.waitMs > 0) await sleep(clock, reserved.waitMs, { signal: signalOf(callOptions) })
      } catch (error) {
        // The caller has left, and waits for nothing: what cannot be put back now is spent.
        void reserved.cancel().catch(() => {})
        throw error
      }
      return start(work, callOf(callOptions))
    }
  }
}
