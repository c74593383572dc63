/** How fast tokens come in, and how many the bucket holds. */
export interface BucketRule {
  readonly perSecond: number
  readonly burst: number
}

/** A bucket's content. Instants are milliseconds on one clock, of which nothing is assumed but that it mostly goes on. */
export interface BucketLevel {
  /** Negative when tokens are reserved that have still to come in. */
  tokens: number
  /** When that was counted. */
  countedAt: number
  /** The latest instant from which reserved tokens may be used. */
  lastUsableAt: number
  rule: BucketRule
}

/** What a reservation needs to be put back. */
export interface LevelReservation {
  readonly tokens: number
  readonly usableAt: number
  /** The rate at the time: a later one says nothing about what was reserved behind it. */
  readonly perSecond: number
}

/** There are not enough tokens. Nothing was taken. */
export type BucketRefusal =
  /** There will be in `retryAfterMs`, if nobody takes any before. */
  | { readonly outcome: 'throttled'; readonly retryAfterMs: number }
  /** There never will be: the bucket holds no more than `burst`. */
  | { readonly outcome: 'exceeds-burst'; readonly burst: number }

/**
 * 10 ns. A wait and the instant it ends at are rounded to doubles, and who comes back after exactly `retryAfterMs` must
 * not be sent away for the last bit of them: at five years on the clock that bit is 15 ns, at 100 days 1 ns.
 */
const ROUNDING_MS = 1e-5

/** A full bucket. */
export function fullLevel(rule: BucketRule, now: number): BucketLevel {
  return { tokens: rule.burst, countedAt: now, lastUsableAt: now, rule }
}

const msFor = (tokens: number, perSecond: number): number => (tokens / perSecond) * 1_000

/**
 * Brings a level up to `now`. A clock that goes back costs nothing: tokens go on coming in from where it stands, and for
 * time that it goes through twice they come twice.
 */
export function refill(level: BucketLevel, now: number): void {
  if (now > level.countedAt) level.tokens += ((now - level.countedAt) / 1_000) * level.rule.perSecond
  level.tokens = Math.min(level.rule.burst, level.tokens)
  level.countedAt = now
}

/** Takes tokens that may still have to come in, unless that would take longer than `waitMaxMs`. Changes the level. */
export function reserveFrom(
  level: BucketLevel,
  tokens: number,
  waitMaxMs: number,
  now: number
): BucketRefusal | { readonly outcome: 'reserved'; readonly waitMs: number } {
  refill(level, now)
  const { perSecond, burst } = level.rule
  if (tokens > burst) return { outcome: 'exceeds-burst', burst }
  const missing = tokens - level.tokens
  const waitMs = missing > 0 ? msFor(missing, perSecond) : 0
  if (waitMs > waitMaxMs + ROUNDING_MS) return { outcome: 'throttled', retryAfterMs: waitMs - waitMaxMs }
  level.tokens -= tokens
  level.lastUsableAt = now + waitMs
  return { outcome: 'reserved', waitMs }
}

/**
 * Puts back what can be: of tokens whose time has come, nothing, and nothing of what others have reserved after these,
 * who would otherwise act too early. Changes the level; gives how many.
 */
export function putBack(level: BucketLevel, reservation: LevelReservation, now: number): number {
  const { tokens, usableAt, perSecond } = reservation
  if (tokens === 0 || usableAt < now) return 0
  // Below zero where a later one was put back first, or the clock was set back: there is nothing behind it then.
  const reservedBehind = Math.max(0, ((level.lastUsableAt - usableAt) / 1_000) * perSecond)
  const returned = tokens - reservedBehind
  if (returned <= 0) return 0
  refill(level, now)
  level.tokens = Math.min(level.rule.burst, level.tokens + returned)
  if (usableAt === level.lastUsableAt) {
    const before = usableAt - msFor(tokens, perSecond)
    if (before >= now) level.lastUsableAt = before
  }
  return returned
}

/**
 * Takes so much that no token is there for `durationMs`, and the first one then: afterwards the rate goes on, without a
 * burst. What is reserved keeps its time, but is not to be put back any more, which would end the pause early. Changes the
 * level.
 */
export function pauseLevel(level: BucketLevel, durationMs: number, now: number): void {
  refill(level, now)
  level.tokens = Math.min(level.tokens, 1 - (durationMs / 1_000) * level.rule.perSecond)
  level.lastUsableAt = now
}
