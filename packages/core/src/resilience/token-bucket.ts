import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { withoutStack } from '../failure/without-stack.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { sleep } from '../time/sleep.ts'
import { platformSchema } from './breaker-options.ts'
import { abortionOf, type CallOptions, callOf, type Policy, signalOf, start, type Work } from './policy.ts'

/** There are not enough tokens. Nothing was taken. */
export type BucketRefusal =
  /** There will be in `retryAfterMs`, if nobody takes any before. */
  | { readonly outcome: 'throttled'; readonly retryAfterMs: number }
  /** There never will be: the bucket holds no more than `burst`. */
  | { readonly outcome: 'exceeds-burst'; readonly burst: number }

/** Tokens that are the caller's from `waitMs` after the reservation. */
export interface BucketReservation {
  readonly outcome: 'reserved'
  readonly waitMs: number
  /**
   * Puts back what it can: of tokens whose time has come, nothing, and nothing of what others have reserved after these,
   * who would otherwise act too early. A second time does nothing.
   */
  cancel(): void
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

const perSecondSchema = z.number().gt(0).max(1_000_000_000)
const burstSchema = z.int().min(1).max(1_000_000_000)
const waitSchema = z.number().min(0).max(86_400_000)
const tokensSchema = z.int().min(0).max(Number.MAX_SAFE_INTEGER)

const tokenBucketOptions: z.ZodType<TokenBucketOptions> = z.strictObject({
  perSecond: perSecondSchema,
  burst: burstSchema,
  waitMaxMs: waitSchema.exactOptional(),
  platform: platformSchema.exactOptional()
})

const adjustOptions: z.ZodType<{ readonly perSecond?: number; readonly burst?: number }> = z.strictObject({
  perSecond: perSecondSchema.exactOptional(),
  burst: burstSchema.exactOptional()
})

const reserveOptions: z.ZodType<{ readonly tokens: number; readonly waitMaxMs?: number }> = z.strictObject({
  tokens: tokensSchema,
  waitMaxMs: waitSchema.exactOptional()
})

/**
 * 10 ns. A wait and the instant it ends at are rounded to doubles, and who comes back after exactly `retryAfterMs` must
 * not be sent away for the last bit of them: at five years of uptime that bit is 15 ns, at 100 days 1 ns.
 */
const ROUNDING_MS = 1e-5

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
  let { burst, perSecond } = parsed
  let tokens = burst
  let countedAt = clock.monotonic()
  /** The latest instant from which reserved tokens may be used. */
  let lastUsableAt = countedAt

  const msFor = (count: number, rate: number): number => (count / rate) * 1_000

  /** Brings `tokens` up to date; gives the time. */
  const count = (): number => {
    const now = clock.monotonic()
    if (now > countedAt) tokens += ((now - countedAt) / 1_000) * perSecond
    tokens = Math.min(burst, tokens)
    countedAt = now
    return now
  }

  const claim = (wanted: number, longestMs: number): BucketRefusal | { readonly waitMs: number } => {
    const now = count()
    if (wanted > burst) return { outcome: 'exceeds-burst', burst }
    const missing = wanted - tokens
    const waitMs = missing > 0 ? msFor(missing, perSecond) : 0
    if (waitMs > longestMs + ROUNDING_MS) return { outcome: 'throttled', retryAfterMs: waitMs - longestMs }
    tokens -= wanted
    lastUsableAt = now + waitMs
    return { waitMs }
  }

  /** `rate` is that of the reservation: a later one says nothing about what was reserved behind it. */
  const putBack = (reserved: number, usableAt: number, rate: number): void => {
    const now = clock.monotonic()
    if (reserved === 0 || usableAt < now) return
    const reservedBehind = ((lastUsableAt - usableAt) / 1_000) * rate
    const returned = reserved - reservedBehind
    if (returned <= 0) return
    const at = count()
    tokens = Math.min(burst, tokens + returned)
    if (usableAt === lastUsableAt) {
      const before = usableAt - msFor(reserved, rate)
      if (before >= at) lastUsableAt = before
    }
  }

  const reserve = (wanted: number, longestMs: number): BucketReservation | BucketRefusal => {
    const claimed = claim(wanted, longestMs)
    if ('outcome' in claimed) return claimed
    const { waitMs } = claimed
    const usableAt = lastUsableAt
    const rate = perSecond
    let standing = true
    return {
      outcome: 'reserved',
      waitMs,
      cancel() {
        if (standing) putBack(wanted, usableAt, rate)
        standing = false
      }
    }
  }

  const checked = (wanted: number): number => {
    if (Number.isSafeInteger(wanted) && wanted >= 0) return wanted
    return parseOptions(reserveOptions, 'tokenBucket.take', { tokens: wanted }).tokens
  }

  return {
    get tokens() {
      count()
      return tokens
    },
    take(wanted = 1) {
      const claimed = claim(checked(wanted), 0)
      return 'outcome' in claimed ? claimed : { outcome: 'taken' }
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
      count()
      perSecond = next.perSecond ?? perSecond
      burst = next.burst ?? burst
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

function throttled(refusal: BucketRefusal): CoreError<'THROTTLED'> {
  // One token never exceeds the burst, which is one at least.
  const retryAfterMs = refusal.outcome === 'throttled' ? refusal.retryAfterMs : 0
  const message = `the token bucket is empty; ask again in ${Math.ceil(retryAfterMs)} ms`
  return withoutStack(() => new CoreError('THROTTLED', message, { retryAfterMs }))
}
