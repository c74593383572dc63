import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { plainText } from '../failure/plain-text.ts'
import { nameSchema } from '../lock/lock-store.ts'
import type { BucketRefusal, BucketRule } from '../resilience/bucket-level.ts'
import { burstSchema, perSecondSchema, waitSchema } from '../resilience/token-bucket.ts'

/** Tokens wanted from a bucket that processes share. */
export interface BucketClaim {
  /**
   * The bucket's rate, above 0, and burst, a positive integer, up to 1e9; empty it fills within 30 days. A rule other than
   * that of the call before is the bucket's from now on: what is reserved stays so.
   */
  readonly rule: BucketRule
  /** How many, an integer from 0. */
  readonly tokens: number
  /** How long they may still have to come in, up to a day; 0 takes what is there. */
  readonly waitMaxMs: number
  /**
   * One per claim, 1 to 128 characters: a claim that is sent twice within 30 s takes once, and gets the same answer with
   * the wait as it is then.
   */
  readonly idempotencyKey: string
}

/** A time in which a bucket gives no tokens. */
export interface BucketPause {
  /** As that of a claim. One that comes later and differs changes how long the pause is, too. */
  readonly rule: BucketRule
  /** From 0 to a day, from now on. */
  readonly durationMs: number
}

/** The answer to a claim. */
export type BucketAnswer =
  /** The tokens are the caller's from `waitMs` after the answer. */
  | { readonly outcome: 'reserved'; readonly waitMs: number }
  | BucketRefusal
  /** They were reserved under this key and have been put back. */
  | { readonly outcome: 'cancelled' }

/**
 * Token buckets that processes share, each a rate by the store's own clock, to the millisecond. Each call is one atomic
 * step; what a refusal refuses takes nothing. Levels are doubles and lose nothing on the way; a clock that is set back
 * costs nothing. A bucket that nobody uses is forgotten when it is full, which is the same. Bucket names have 1 to 256
 * characters. A store that does not answer throws `STORE_UNAVAILABLE` or `COMMIT_UNKNOWN`; repeat it under the same key.
 */
export interface TokenBucketStore {
  readonly supports: {
    /** What a taken token survives. */
    readonly durable: 'power-loss' | 'process' | 'none'
    /** Whether several processes may use the same buckets. */
    readonly shared: boolean
  }
  /** Takes tokens that are there, or will be within `waitMaxMs`. */
  reserve(bucket: string, claim: BucketClaim): Promise<BucketAnswer>
  /**
   * Puts back what can be of a reservation, and gives how many tokens that is: of those whose time has come, nothing, and
   * nothing of what others have reserved after these. A key that is not known, or was cancelled, puts back nothing.
   */
  cancel(bucket: string, idempotencyKey: string): Promise<number>
  /**
   * Gives no tokens for a time, as a server asks for with `Retry-After`; then they come in at the rate again, one by one.
   * Of two pauses the one that ends later counts, so that it needs no key. What is reserved may still be used at its time,
   * but is not put back any more.
   */
  pause(bucket: string, pause: BucketPause): Promise<void>
}

/** How long a claim's answer is kept after its tokens may be used: whoever sends it again does so within seconds. */
export const ANSWER_KEPT_MS = 30_000

/** A bucket is kept this long after it is full, so that one that is in steady use is not made again and again. */
export const FULL_KEPT_MS = 1_000

/** A bucket that takes longer to fill is a quota over months, which metering keeps; and its key would stay as long. */
const FILL_MAX_MS = 30 * 86_400_000

/** What a script takes; more than a burst is refused by the bucket, not by the schema. */
export const tokensSchema = z.int().min(0).max(9_000_000_000_000_000)

const keySchema = plainText(128)

export const bucketRuleSchema: z.ZodType<BucketRule> = z
  .strictObject({ perSecond: perSecondSchema, burst: burstSchema })
  // A rate that is none has an issue of its own already.
  .refine(({ perSecond, burst }) => perSecond <= 0 || (burst / perSecond) * 1_000 <= FILL_MAX_MS, {
    path: ['perSecond'],
    message: 'fills the burst in more than 30 days'
  })

const claimSchema: z.ZodType<{ readonly bucket: string } & BucketClaim> = z.strictObject({
  bucket: nameSchema,
  rule: bucketRuleSchema,
  tokens: tokensSchema,
  waitMaxMs: waitSchema,
  idempotencyKey: keySchema
})

const cancelSchema: z.ZodType<{ readonly bucket: string; readonly idempotencyKey: string }> = z.strictObject({
  bucket: nameSchema,
  idempotencyKey: keySchema
})

const pauseSchema: z.ZodType<{ readonly bucket: string } & BucketPause> = z.strictObject({
  bucket: nameSchema,
  rule: bucketRuleSchema,
  durationMs: waitSchema
})

/** Every store refuses the same claims, before it asks anybody. Throws `INVALID_OPTIONS`. */
export function checkClaim(subject: string, bucket: string, claim: BucketClaim): BucketClaim {
  const { bucket: _, ...checked } = parseOptions(claimSchema, subject, { ...claim, bucket })
  return checked
}

/** As `checkClaim`, for a cancellation. Throws `INVALID_OPTIONS`. */
export function checkCancel(subject: string, bucket: string, idempotencyKey: string): void {
  parseOptions(cancelSchema, subject, { bucket, idempotencyKey })
}

/** As `checkClaim`, for a pause. Throws `INVALID_OPTIONS`. */
export function checkPause(subject: string, bucket: string, pause: BucketPause): BucketPause {
  const { bucket: _, ...checked } = parseOptions(pauseSchema, subject, { ...pause, bucket })
  return checked
}
