import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { platformSchema } from '../resilience/breaker-options.ts'
import { type BucketRecord, cancelTokens, claimTokens, pauseTokens, type ReservationRecord } from './bucket-record.ts'
import { checkCancel, checkClaim, checkPause, type TokenBucketStore } from './token-bucket-store.ts'

export interface MemoryTokenBucketStoreOptions {
  readonly platform?: Platform
  /** Buckets that are not full, 10,000 at once unless given. */
  readonly bucketsMax?: number
  /** Claims of one bucket that are remembered for those who repeat them, 100,000 unless given. */
  readonly claimsMax?: number
}

const BUCKETS_MAX = 10_000
/** Some 20 MB. 30 s of 3,000 claims a second. */
const CLAIMS_MAX = 100_000

const optionsSchema: z.ZodType<MemoryTokenBucketStoreOptions> = z.strictObject({
  platform: platformSchema.exactOptional(),
  bucketsMax: z.int().min(1).max(1_000_000).exactOptional(),
  claimsMax: z.int().min(1).max(1_000_000).exactOptional()
})

interface Entry {
  record: BucketRecord
  readonly claims: Map<string, ReservationRecord>
}

/**
 * Token buckets that parts of one process share, for tests and demos: the model that the other stores are held to. Its
 * clock is the platform's wall clock, as theirs is their server's. Throws `INVALID_OPTIONS`; `reserve` and `pause` throw
 * `OVERLOADED` when they would have to remember more than they may.
 */
export function memoryTokenBucketStore(options: MemoryTokenBucketStoreOptions = {}): TokenBucketStore {
  const subject = 'memoryTokenBucketStore'
  const parsed = parseOptions(optionsSchema, subject, options)
  const { platform = systemPlatform, bucketsMax = BUCKETS_MAX, claimsMax = CLAIMS_MAX } = parsed
  const { clock } = platform
  const entries = new Map<string, Entry>()

  return {
    supports: { durable: 'none', shared: false },
    async reserve(bucket, claim) {
      const checked = checkClaim(`${subject}.reserve`, bucket, claim)
      const now = clock.now()
      const entry = entries.get(bucket)
      const { idempotencyKey } = checked
      const result = claimTokens(entry?.record, entry?.claims.get(idempotencyKey), checked, now)
      if (result.bucket === undefined) return result.answer
      const kept: Entry = entry ?? { record: result.bucket, claims: new Map() }
      if (entry === undefined)
        makeRoom(entries, bucketsMax, 'buckets', ({ record, claims }) => isOver(record, claims, now))
      if (result.reservation !== undefined) {
        if (!kept.claims.has(idempotencyKey))
          makeRoom(kept.claims, claimsMax, 'claims', ({ keptUntil }) => keptUntil <= now)
        kept.claims.set(idempotencyKey, result.reservation)
      }
      kept.record = result.bucket
      entries.set(bucket, kept)
      return result.answer
    },
    async cancel(bucket, idempotencyKey) {
      checkCancel(`${subject}.cancel`, bucket, idempotencyKey)
      const entry = entries.get(bucket)
      if (entry === undefined) return 0
      const result = cancelTokens(entry.record, entry.claims.get(idempotencyKey), clock.now())
      if (result.reservation !== undefined) entry.claims.set(idempotencyKey, result.reservation)
      if (result.bucket !== undefined) entry.record = result.bucket
      return result.returned
    },
    async pause(bucket, pause) {
      const checked = checkPause(`${subject}.pause`, bucket, pause)
      const now = clock.now()
      const entry = entries.get(bucket)
      const record = pauseTokens(entry?.record, checked, now)
      if (entry !== undefined) entry.record = record
      else {
        makeRoom(entries, bucketsMax, 'buckets', (other) => isOver(other.record, other.claims, now))
        entries.set(bucket, { record, claims: new Map() })
      }
    }
  }
}

/** Whether a bucket and all that was claimed of it may be forgotten. */
function isOver(record: BucketRecord, claims: ReadonlyMap<string, ReservationRecord>, now: number): boolean {
  if (record.keptUntil > now) return false
  for (const { keptUntil } of claims.values()) if (keptUntil > now) return false
  return true
}

/** Forgets all that is over once there is no room for one more. */
function makeRoom<Value>(map: Map<string, Value>, max: number, what: string, over: (value: Value) => boolean): void {
  if (map.size < max) return
  for (const [key, value] of map) if (over(value)) map.delete(key)
  if (map.size < max) return
  throw new CoreError('OVERLOADED', `${map.size} ${what} are remembered in memory, the most it takes`, {
    what: `memory token bucket store, ${what}`,
    waiting: map.size,
    limit: max
  })
}
