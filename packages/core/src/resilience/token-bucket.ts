import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { withoutStack } from '../failure/without-stack.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { sleep } from '../time/sleep.ts'
import { platformSchema } from './breaker-options.ts'
import { type BucketRefusal, fullLevel, pauseLevel, putBack, refill, reserveFrom } from './bucket-level.ts'
import { abortionOf, type CallOptions, callOf, type Policy, signalOf, start, type Work } from './policy.ts'

/** Tokens that are the caller's from `waitMs` after the reservation. */
export interface BucketReservation {
  readonly outcome: 'reserved'
  readonly waitMs: number
  /**
   * Puts back what it can: of tokens whose time has come, nothing, and nothing of what others have reserved after these,
   * who would otherwise act too early. Gives how many tokens that is; a second time does nothing and gives 0.
   */
  cancel(): number
}

/** Tokens come in at a steady rate up to a burst, and every call takes some: the rate holds over any length of time. */
export interface TokenBucket extends Policy {
  /** Takes `tokens` (1 unless given) if they are there. */
  take(tokens?: number): { readonly outcome: 'taken' } | BucketRefusal
  /** Takes `tokens` that may still have to come in, unless that would take longer than `waitMaxMs`; no bound unless given. */
  reserve(tokens?: number, options?: { readonly waitMaxMs?: number }): BucketReservation | BucketRefusal
  /**
   * Changes rate or burst from now on. What is reserved stays so, and can exceed the new ones. Throws `INVALID_OPTIONS`,
   * and changes nothing.
   */
  adjust(to: { readonly perSecond?: number; readonly burst?: number }): void
  /**
   * Gives no tokens for `durationMs`, up to a day, as a server asks for with `Retry-After`; then they come in at the rate
   * again, one by one. Of two pauses the one that ends later counts. What is reserved may still be used at its time, but
   * is not put back. Throws `INVALID_OPTIONS`.
   */
  pause(durationMs: number): void
  /** What is in it; negative when tokens are reserved that have still to come in. */
  readonly tokens: number
  /**
   * Takes one token and then does the work, waiting up to `waitMaxMs` of the options for it. Throws `THROTTLED`, without
   * a stack, when that is not long enough. A caller that gives up while it waits gets its token put back.
   */
  execute<T>(work: Work<T>, options?: CallOptions): Promise<T>
}

export interface TokenBucketOptions {
  /** Tokens that come in each second: above 0, also a fraction. */
  readonly perSecond: number
  /** Tokens that it holds at most, and at first: a positive integer. */
  readonly burst: number
  /** How long `execute` waits for a token; 0, which is not at all, unless given. */
  readonly waitMaxMs?: number
  readonly platform?: Platform
}

export const perSecondSchema = z.number().gt(0).max(1_000_000_000)
export const burstSchema = z.int().min(1).max(1_000_000_000)
export const waitSchema = z.number().min(0).max(86_400_000)
const tokensSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER)

const tokenBucketOptions: z.ZodType<TokenBucketOptions> = z.strictObject({
  perSecond: perSecondSchema,
  burst: burstSchema,
  waitMaxMs: waitSchema.exactOptional(),
  platform: platformSchema.exactOptional()
})

export const pauseOptions: z.ZodType<{ readonly durationMs: number }> = z.strictObject({ durationMs: waitSchema })

const adjustOptions: z.ZodType<{ readonly perSecond?: number; readonly burst?: number }> = z.strictObject({
  perSecond: perSecondSchema.exactOptional(),
  burst: burstSchema.exactOptional()
})

const reserveOptions: z.ZodType<{ readonly tokens: number; readonly waitMaxMs?: number }> = z.strictObject({
  tokens: tokensSchema,
  waitMaxMs: waitSchema.exactOptional()
})

/**
 * A token bucket, after `golang.org/x/time/rate`: tokens come in by fractions, and no duration is cut to whole
 * milliseconds for them; reservations may be cancelled. A clock that goes back, which a monotonic one does not, costs
 * nothing: tokens go on coming in from where it stands, and for time that it goes through twice they come twice. Throws
 * `INVALID_OPTIONS`.
 */
export function createTokenBucket(options: TokenBucketOptions): TokenBucket {
  const parsed = parseOptions(tokenBucketOptions, 'createTokenBucket', options)
  const { waitMaxMs = 0, platform = systemPlatform } = parsed
  const { clock } = platform
  const level = fullLevel({ perSecond: parsed.perSecond, burst: parsed.burst }, clock.monotonic())
  let pauses = 0

  const reserve = (wanted: number, longestMs: number): BucketReservation | BucketRefusal => {
    const reserved = reserveFrom(level, wanted, longestMs, clock.monotonic())
    if (reserved.outcome !== 'reserved') return reserved
    const reservation = { tokens: wanted, usableAt: level.lastUsableAt, perSecond: level.rule.perSecond }
    const pausesBefore = pauses
    let standing = true
    return {
      outcome: 'reserved',
      waitMs: reserved.waitMs,
      cancel() {
        const returned = standing && pauses === pausesBefore ? putBack(level, reservation, clock.monotonic()) : 0
        standing = false
        return returned
      }
    }
  }

  const checked = (wanted: number): number => {
    if (Number.isSafeInteger(wanted) && wanted >= 0) return wanted
    return parseOptions(reserveOptions, 'tokenBucket.take', { tokens: wanted }).tokens
  }

  return {
    get tokens() {
      refill(level, clock.monotonic())
      return level.tokens
    },
    take(wanted = 1) {
      const reserved = reserveFrom(level, checked(wanted), 0, clock.monotonic())
      return reserved.outcome === 'reserved' ? { outcome: 'taken' } : reserved
    },
    reserve(wanted = 1, options = {}) {
      const { waitMaxMs: longestMs = Number.POSITIVE_INFINITY } = parseOptions(reserveOptions, 'tokenBucket.reserve', {
        ...options,
        tokens: wanted
      })
      return reserve(wanted, longestMs)
    },
    adjust(to) {
      const next = parseOptions(adjustOptions, 'tokenBucket.adjust', to)
      refill(level, clock.monotonic())
      level.rule = { ...level.rule, ...next }
    },
    pause(durationMs) {
      pauseLevel(level, parseOptions(pauseOptions, 'tokenBucket.pause', { durationMs }).durationMs, clock.monotonic())
      pauses += 1
    },
    async execute<T>(work: Work<T>, options?: CallOptions): Promise<T> {
      const abortion = abortionOf(options)
      if (abortion?.aborted === true) throw abortion.reason
      const reserved = reserve(1, waitMaxMs)
      if (reserved.outcome !== 'reserved') throw throttled(reserved)
      if (reserved.waitMs > 0) {
        try {
          await sleep(clock, reserved.waitMs, { signal: signalOf(options) })
        } catch (error) {
          reserved.cancel()
          throw error
        }
      }
      return start(work, callOf(options))
    }
  }
}

export function throttled(refusal: BucketRefusal): CoreError<'THROTTLED'> {
  // One token never exceeds the burst, which is one at least.
  const retryAfterMs = refusal.outcome === 'throttled' ? refusal.retryAfterMs : 0
  const message = `the token bucket is empty; ask again in ${Math.ceil(retryAfterMs)} ms`
  return withoutStack(() => new CoreError('THROTTLED', message, { retryAfterMs }))
}
