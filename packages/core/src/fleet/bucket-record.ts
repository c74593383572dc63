import {
  type BucketLevel,
  type BucketRule,
  fullLevel,
  type LevelReservation,
  pauseLevel,
  putBack,
  refill,
  reserveFrom
} from '../resilience/bucket-level.ts'
import {
  ANSWER_KEPT_MS,
  type BucketAnswer,
  type BucketClaim,
  type BucketPause,
  FULL_KEPT_MS
} from './token-bucket-store.ts'

/**
 * What a store keeps of a bucket. The level's instants count from `bornAt` (epoch milliseconds by the store's clock), so
 * that doubles of them are exact to a billionth of a millisecond for years.
 */
export interface BucketRecord {
  readonly bornAt: number
  readonly level: BucketLevel
  /** When nobody misses it any more, in epoch milliseconds. */
  readonly keptUntil: number
}

/** What a store keeps of a claim that took tokens. */
export interface ReservationRecord extends LevelReservation {
  /** That of the bucket it was taken from. */
  readonly bornAt: number
  readonly cancelled: boolean
  readonly keptUntil: number
}

/** What is to be written after a claim: what is not there stays as it was. */
export interface ClaimResult {
  readonly answer: BucketAnswer
  readonly bucket?: BucketRecord
  readonly reservation?: ReservationRecord
}

/**
 * The rules of `TokenBucketStore.reserve` for stores that can run them, at `now` of the store's clock: what was kept of
 * the bucket and of a claim under this key, if anything. Redis runs the same in redis/token-bucket.lua, operation by
 * operation, so that the doubles are the same; tests hold them equal.
 */
export function claimTokens(
  keptBucket: BucketRecord | undefined,
  keptReservation: ReservationRecord | undefined,
  claim: BucketClaim,
  now: number
): ClaimResult {
  const known = standing(keptReservation, now)
  if (known?.cancelled === true) return { answer: { outcome: 'cancelled' } }
  if (known !== undefined) {
    return { answer: { outcome: 'reserved', waitMs: Math.max(0, known.usableAt - (now - known.bornAt)) } }
  }
  const { rule, tokens, waitMaxMs } = claim
  const kept = standing(keptBucket, now)
  const bornAt = kept?.bornAt ?? now
  const at = now - bornAt
  const level = kept === undefined ? fullLevel(rule, at) : { ...kept.level }
  refill(level, at)
  level.rule = rule
  const answer = reserveFrom(level, tokens, waitMaxMs, at)
  const bucket = { bornAt, level, keptUntil: missedUntil(level, bornAt, now) }
  if (answer.outcome !== 'reserved') {
    // A refusal writes nothing, but that a new rule counts from here, or a clock that was set back.
    const counts = kept !== undefined && (at < kept.level.countedAt || !sameRule(kept.level.rule, rule))
    return counts ? { answer, bucket } : { answer }
  }
  const reservation = {
    tokens,
    usableAt: level.lastUsableAt,
    perSecond: rule.perSecond,
    bornAt,
    cancelled: false,
    keptUntil: now + Math.ceil(answer.waitMs) + ANSWER_KEPT_MS
  }
  return { answer, bucket, reservation }
}

/** What is to be written after a cancellation: what is not there stays as it was. */
export interface CancelResult {
  readonly returned: number
  readonly bucket?: BucketRecord
  readonly reservation?: ReservationRecord
}

/** The rules of `TokenBucketStore.cancel`, likewise. */
export function cancelTokens(
  keptBucket: BucketRecord | undefined,
  keptReservation: ReservationRecord | undefined,
  now: number
): CancelResult {
  const known = standing(keptReservation, now)
  if (known === undefined || known.cancelled) return { returned: 0 }
  const reservation = { ...known, cancelled: true }
  // A bucket that was forgotten was full, and the one in its place is another.
  const kept = standing(keptBucket, now)
  if (kept === undefined || kept.bornAt !== known.bornAt) return { returned: 0, reservation }
  const level = { ...kept.level }
  const returned = putBack(level, known, now - kept.bornAt)
  if (returned === 0) return { returned, reservation }
  return { returned, reservation, bucket: { ...kept, level, keptUntil: missedUntil(level, kept.bornAt, now) } }
}

/**
 * The rules of `TokenBucketStore.pause`, likewise: the bucket as it is to be written. It is born again, later than before,
 * so that no claim on what it was puts anything back.
 */
export function pauseTokens(keptBucket: BucketRecord | undefined, pause: BucketPause, now: number): BucketRecord {
  const { rule, durationMs } = pause
  const kept = standing(keptBucket, now)
  const bornAt = kept === undefined ? now : Math.max(now, kept.bornAt + 1)
  const level = kept === undefined ? fullLevel(rule, now - bornAt) : { ...kept.level }
  if (kept !== undefined) refill(level, now - kept.bornAt)
  level.countedAt = now - bornAt
  level.rule = rule
  pauseLevel(level, durationMs, now - bornAt)
  return { bornAt, level, keptUntil: missedUntil(level, bornAt, now) }
}

function standing<Kept extends { readonly keptUntil: number }>(kept: Kept | undefined, now: number): Kept | undefined {
  return kept !== undefined && kept.keptUntil > now ? kept : undefined
}

const sameRule = (one: BucketRule, other: BucketRule): boolean =>
  one.perSecond === other.perSecond && one.burst === other.burst

/**
 * The largest integer that a script takes, which is no instant that anybody lives to see: a rule may be so much slower
 * than the one before that what this had reserved comes in later than a store can write.
 */
const INSTANT_MAX = 9_000_000_000_000_000

/** Until the bucket is full again and the last of what was reserved may be used. */
function missedUntil(level: BucketLevel, bornAt: number, now: number): number {
  const fullAt = now + Math.ceil(((level.rule.burst - level.tokens) / level.rule.perSecond) * 1_000)
  const until = Math.max(fullAt, bornAt + Math.ceil(level.lastUsableAt)) + FULL_KEPT_MS
  return Math.min(until, INSTANT_MAX)
}
