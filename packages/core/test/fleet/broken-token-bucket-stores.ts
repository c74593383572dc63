import { type BucketRule, memoryTokenBucketStore, type TokenBucketStore } from '@enablement/core/fleet'

interface Bucket {
  rule: BucketRule
  tokens: number
  countedAt: number
  lastUsableAt: number
  pauses: number
}

interface Reservation {
  readonly tokens: number
  readonly usableAt: number
  readonly perSecond: number
  readonly keptUntil: number
  /** How many pauses there had been. */
  readonly pauses: number
  cancelled: boolean
}

/** What a store of token buckets decides; each broken one gets one of these wrong. */
interface Decisions {
  bucketOf(bucket: string): string
  keyOf(bucket: string, idempotencyKey: string): string
  /** What may happen between reading a bucket and writing it. */
  gap: (() => Promise<void>) | undefined
  gained(bucket: Bucket, now: number): number
  cap(rule: BucketRule): number
  exceeds(tokens: number, rule: BucketRule): boolean
  wait(missing: number, rule: BucketRule): number
  takenOnRefusal(tokens: number): number
  adopts(reserved: boolean, isSetBack: boolean): boolean
  keptMs: number
  again(reservation: Reservation, now: number): number
  refusalKept: boolean
  behind(bucket: Bucket, reservation: Reservation): number
  mayCancel(reservation: Reservation, now: number): boolean
  tombstone: boolean
  /** What is left in a bucket that pauses. */
  paused(bucket: Bucket, durationMs: number): number
  /** Whether a pause voids what cancellations would put back. */
  pauseVoids: boolean
}

const right: Decisions = {
  bucketOf: (bucket) => bucket,
  keyOf: (bucket, idempotencyKey) => JSON.stringify([bucket, idempotencyKey]),
  gap: undefined,
  gained: ({ rule, countedAt }, now) => (now > countedAt ? ((now - countedAt) / 1_000) * rule.perSecond : 0),
  cap: ({ burst }) => burst,
  exceeds: (tokens, { burst }) => tokens > burst,
  wait: (missing, { perSecond }) => (missing / perSecond) * 1_000,
  takenOnRefusal: () => 0,
  adopts: () => true,
  keptMs: 30_000,
  again: (reservation, now) => Math.max(0, reservation.usableAt - now),
  refusalKept: false,
  behind: ({ lastUsableAt }, { usableAt, perSecond }) => Math.max(0, ((lastUsableAt - usableAt) / 1_000) * perSecond),
  mayCancel: (reservation, now) => !reservation.cancelled && reservation.usableAt >= now,
  tombstone: true,
  paused: ({ tokens, rule }, durationMs) => Math.min(tokens, 1 - (durationMs / 1_000) * rule.perSecond),
  pauseVoids: true
}

function storeThat(changed: Partial<Decisions>): (clock: { now(): number }) => TokenBucketStore {
  const decide: Decisions = { ...right, ...changed }
  // The memory store's own rules for what is no claim, on a store that holds nothing else.
  const rules = memoryTokenBucketStore()
  return (clock) => {
    const bornAt = clock.now()
    const since = (): number => clock.now() - bornAt
    const buckets = new Map<string, Bucket>()
    const reservations = new Map<string, Reservation>()
    const refusals = new Set<string>()
    return {
      supports: { durable: 'none', shared: false },
      async reserve(name, claim) {
        await rules.reserve(name, { ...claim, tokens: claim.tokens > 0 ? claim.tokens : claim.tokens })
        const { rule, tokens, waitMaxMs, idempotencyKey } = claim
        const key = decide.keyOf(name, idempotencyKey)
        const known = reservations.get(key)
        if (known !== undefined && known.keptUntil > since()) {
          if (known.cancelled) return { outcome: 'cancelled' }
          return { outcome: 'reserved', waitMs: decide.again(known, since()) }
        }
        if (refusals.has(key)) return { outcome: 'throttled', retryAfterMs: 1 }
        const stored = buckets.get(decide.bucketOf(name))
        const bucket = { ...(stored ?? fresh(rule, since())) }
        if (decide.gap !== undefined) await decide.gap()
        const now = since()
        const isSetBack = now < bucket.countedAt
        bucket.tokens = Math.min(decide.cap(bucket.rule), bucket.tokens + decide.gained(bucket, now))
        bucket.countedAt = now
        bucket.rule = rule
        bucket.tokens = Math.min(decide.cap(rule), bucket.tokens)
        const save = (): unknown => buckets.set(decide.bucketOf(name), bucket)
        if (decide.exceeds(tokens, rule)) {
          save()
          return { outcome: 'exceeds-burst', burst: rule.burst }
        }
        const missing = tokens - bucket.tokens
        const waitMs = missing > 0 ? decide.wait(missing, rule) : 0
        if (waitMs > waitMaxMs + 1e-5) {
          if (decide.refusalKept) refusals.add(key)
          bucket.tokens -= decide.takenOnRefusal(tokens)
          if (decide.adopts(false, isSetBack)) save()
          return { outcome: 'throttled', retryAfterMs: waitMs - waitMaxMs }
        }
        bucket.tokens -= tokens
        bucket.lastUsableAt = now + waitMs
        save()
        const { lastUsableAt: usableAt, pauses } = bucket
        const keptUntil = now + Math.ceil(waitMs) + decide.keptMs
        reservations.set(key, { tokens, usableAt, perSecond: rule.perSecond, keptUntil, pauses, cancelled: false })
        return { outcome: 'reserved', waitMs }
      },
      async cancel(name, idempotencyKey) {
        await rules.cancel(name, idempotencyKey)
        const key = decide.keyOf(name, idempotencyKey)
        const known = reservations.get(key)
        const bucket = buckets.get(decide.bucketOf(name))
        if (known === undefined || bucket === undefined || !decide.mayCancel(known, since())) return 0
        if (decide.tombstone) known.cancelled = true
        else reservations.delete(key)
        if (decide.pauseVoids && known.pauses !== bucket.pauses) return 0
        const returned = known.tokens - decide.behind(bucket, known)
        if (returned <= 0) return 0
        bucket.tokens = Math.min(bucket.rule.burst, bucket.tokens + decide.gained(bucket, since()) + returned)
        bucket.countedAt = since()
        const before = known.usableAt - (known.tokens / known.perSecond) * 1_000
        if (known.usableAt === bucket.lastUsableAt && before >= since()) bucket.lastUsableAt = before
        return returned
      },
      async pause(name, { rule, durationMs }) {
        await rules.pause(name, { rule, durationMs })
        const bucket = { ...(buckets.get(decide.bucketOf(name)) ?? fresh(rule, since())) }
        bucket.tokens = Math.min(decide.cap(rule), bucket.tokens + decide.gained(bucket, since()))
        bucket.countedAt = since()
        bucket.rule = rule
        bucket.tokens = decide.paused(bucket, durationMs)
        bucket.pauses += 1
        buckets.set(decide.bucketOf(name), bucket)
      }
    }
  }
}

const fresh = (rule: BucketRule, now: number): Bucket => ({
  rule,
  tokens: rule.burst,
  countedAt: now,
  lastUsableAt: now,
  pauses: 0
})

/** The same store with nothing wrong: it passes, so what the others fail by is what is wrong with them. */
export const soundTokenBucketStore = storeThat({})

/** Stores that are wrong in one place each, with the clause that catches them. */
export const brokenTokenBucketStores: readonly {
  readonly name: string
  readonly caughtBy: string
  readonly make: (clock: { now(): number }) => TokenBucketStore
}[] = [
  {
    name: 'reads and writes in two steps',
    caughtBy: 'gives eight clients that come at once no more than the burst',
    make: storeThat({ gap: () => new Promise((resolve) => setImmediate(resolve)) })
  },
  {
    name: 'takes tokens for a claim that it refuses',
    caughtBy: 'tells when there will be enough, and when there never will be, and takes nothing',
    make: storeThat({ takenOnRefusal: (tokens) => tokens })
  },
  {
    name: 'counts whole tokens',
    caughtBy: 'loses no fraction of a token on the way',
    make: storeThat({
      gained: ({ rule, countedAt }, now) => Math.floor(Math.max(0, (now - countedAt) / 1_000) * rule.perSecond)
    })
  },
  {
    name: 'lets more than the burst pile up',
    caughtBy: 'fills a bucket that nobody uses to its burst, and no further',
    make: storeThat({ cap: () => Number.POSITIVE_INFINITY })
  },
  {
    name: 'reserves more than the burst',
    caughtBy: 'tells when there will be enough, and when there never will be, and takes nothing',
    make: storeThat({ exceeds: () => false })
  },
  {
    name: 'takes tokens away when its clock is set back',
    caughtBy: 'TestLimiterJumpBackwards',
    make: storeThat({ gained: ({ rule, countedAt }, now) => ((now - countedAt) / 1_000) * rule.perSecond })
  },
  {
    name: 'takes twice for a claim that is sent twice',
    caughtBy: 'takes once for a claim that is sent twice, and says what is left of the wait',
    make: storeThat({ keptMs: -1e15 })
  },
  {
    name: 'tells whoever asks again to wait as long as the first time',
    caughtBy: 'takes once for a claim that is sent twice, and says what is left of the wait',
    make: storeThat({ again: (reservation) => reservation.usableAt })
  },
  {
    name: 'remembers refusals',
    caughtBy: 'decides a refused claim anew when it is sent again',
    make: storeThat({ refusalKept: true })
  },
  {
    name: 'puts back what others have reserved behind',
    caughtBy: 'TestCancel0Tokens',
    make: storeThat({ behind: () => 0 })
  },
  {
    name: 'puts back more than was taken',
    caughtBy:
      'never puts back more than a reservation took, whatever was cancelled before and wherever its clock is set',
    make: storeThat({
      behind: ({ lastUsableAt }, { usableAt, perSecond }) => ((lastUsableAt - usableAt) / 1_000) * perSecond
    })
  },
  {
    name: 'puts back tokens whose time has come',
    caughtBy: 'TestCancelTooLate',
    make: storeThat({ mayCancel: (reservation) => !reservation.cancelled })
  },
  {
    name: 'puts a reservation back every time',
    caughtBy: 'puts a reservation back once, and says how much that is',
    make: storeThat({ mayCancel: (reservation, now) => reservation.usableAt >= now })
  },
  {
    name: 'forgets what was cancelled',
    caughtBy: 'gives nothing to a claim that arrives after its cancellation was done',
    make: storeThat({ tombstone: false })
  },
  {
    name: 'ignores a new rule while it refuses',
    caughtBy: 'counts from a new rule on, also when the first claim under it is refused',
    make: storeThat({ adopts: (reserved, isSetBack) => reserved || isSetBack })
  },
  {
    name: 'waits for its clock to come back to where it was while it refuses',
    caughtBy: 'fills on from where its clock is set back to, also while it refuses what is claimed',
    make: storeThat({ adopts: (_, isSetBack) => !isSetBack })
  },
  {
    name: 'joins names and keys',
    caughtBy: 'keeps buckets and the keys of their claims apart',
    make: storeThat({ keyOf: (bucket, idempotencyKey) => `${bucket}:${idempotencyKey}` })
  },
  {
    name: 'has a burst at the end of a pause',
    caughtBy: 'gives nothing while it pauses, and then comes in at the rate, without a burst',
    make: storeThat({ paused: ({ rule }, durationMs) => rule.burst - (durationMs / 1_000) * rule.perSecond })
  },
  {
    name: 'adds pauses up',
    caughtBy: 'ends a pause with the later end of two, whichever came first',
    make: storeThat({
      paused: ({ tokens, rule }, durationMs) => Math.min(1, tokens) - (durationMs / 1_000) * rule.perSecond
    })
  },
  {
    name: 'ends a pause early for what is put back',
    caughtBy: 'puts nothing back into a pause of what was reserved before, which keeps its time',
    make: storeThat({ pauseVoids: false })
  },
  {
    name: 'rounds waits to whole seconds',
    caughtBy: 'TestSimpleReserve',
    make: storeThat({ wait: (missing, { perSecond }) => Math.ceil(missing / perSecond) * 1_000 })
  }
]
