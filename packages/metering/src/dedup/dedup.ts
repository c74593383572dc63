import { type Platform, type Policy, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { Calendar } from '../calendar/calendar.ts'
import { longestPeriodMs } from '../calendar/longest-period.ts'
import { calendarEverySchema } from '../calendar/period-finder.ts'
import { SKEW_GRACE_MS } from '../clock-skew/skew.ts'
import { LATENESS_LIMITS, type LatenessLimits, latenessLimitsSchema } from '../lateness/lateness.ts'
import { MeteringError, storeFailure } from '../metering-error.ts'
import { type BloomFilterOptions, createBloomFilter } from './bloom-filter.ts'
import { CountedIdentities } from './counted-identities.ts'
import type { DedupEvent } from './dedup-event.ts'
import { checkClaims, type DedupAnswer, type DedupClaim, type DedupStore } from './dedup-store.ts'
import { identityKey, judgeRepeat } from './repeat.ts'

/** What dedup says of a claim. */
export type DedupOutcome =
  | DedupAnswer
  /**
   * The store did not answer. `seenHere`: this process may have been given the identity before, though it may err: a hint
   * for who looks at it, no verdict.
   */
  | { readonly outcome: 'unknown'; readonly error: MeteringError<'STORE_FAILED'>; readonly seenHere: boolean }

/** How repeated events are found. */
export interface DedupOptions {
  readonly store: DedupStore
  /** The calendar by which is billed, or the longest of them; this or `longestPeriodMs`. */
  readonly calendar?: Pick<Calendar, 'every'>
  /** How long the longest period is that is billed. */
  readonly longestPeriodMs?: number
  /** How late usage may come: 24 hours and 7 days unless given. The meter's own. */
  readonly lateness?: LatenessLimits
  /** Counted identities kept in this process, those seen last: 50,000 unless given, some 20 MB. */
  readonly identitiesMax?: number
  /** The Bloom filter: of 1,000,000 identities and a day unless given. */
  readonly bloom?: Omit<BloomFilterOptions, 'platform'>
  /** How the store is called, such as by a circuit breaker. */
  readonly policy?: Policy
  readonly observe?: (event: DedupEvent) => void
  readonly platform?: Platform
}

/** What came of the claims so far. Plain counts, for counters that are read when they are collected. */
export interface DedupStats {
  readonly claims: number
  /** Identities that the Bloom filter had never seen: surely none that this process keeps. */
  readonly bloomMisses: number
  /** Claims answered by what this process keeps. */
  readonly memoryAnswers: number
  /** Claims that the store answered. */
  readonly storeAnswers: number
  readonly unknown: number
}

/** Finds events that were sent before, by a store that processes share and by what this one has seen. */
export interface Dedup {
  /**
   * Claims the identities, with an answer for each in order. Never throws for a store that failed: what this process does
   * not know is `unknown` then. Throws `INVALID_OPTIONS` for more than 1,000, and the signal's reason.
   */
  claim(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<readonly DedupOutcome[]>
  /**
   * These are counted, with `receivedAt` their first receipt. Never throws for a store that failed, for nothing is lost:
   * a repetition is `pending` then, and the ledger decides.
   */
  settle(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * These were claimed and will not be counted: free again. Never throws for a store that failed, for nothing is lost: a
   * retry is `pending` then, and the ledger decides.
   */
  release(claims: readonly DedupClaim[], options?: { readonly signal?: AbortSignal }): Promise<void>
  stats(): DedupStats
}

const IDENTITIES_MAX = 50_000

const CENTURY_MS = 36_525 * 86_400_000

const optionsSchema: z.ZodType<DedupOptions> = z
  .strictObject({
    store: z.custom<DedupStore>(isDedupStore, 'must be a dedup store, such as redisDedupStore(redis)'),
    calendar: calendarEverySchema.exactOptional(),
    longestPeriodMs: z.number().min(1).max(CENTURY_MS).exactOptional(),
    lateness: latenessLimitsSchema.exactOptional(),
    identitiesMax: z.int().min(1).max(10_000_000).exactOptional(),
    bloom: z
      .custom<Omit<BloomFilterOptions, 'platform'>>((value) => typeof value === 'object' && value !== null)
      .exactOptional(),
    policy: z
      .custom<Policy>((value) => typeof value === 'object' && value !== null && 'execute' in value)
      .exactOptional(),
    observe: z.custom<(event: DedupEvent) => void>((value) => typeof value === 'function').exactOptional(),
    platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
  })
  .superRefine(({ store, calendar, longestPeriodMs: given, lateness = LATENESS_LIMITS }, { addIssue }) => {
    if ((calendar === undefined) === (given === undefined)) {
      addIssue({ code: 'custom', path: ['calendar'], message: 'must be given, or longestPeriodMs in its place' })
      return
    }
    const periodMs = calendar === undefined ? (given as number) : longestPeriodMs(calendar)
    const neededMs = periodMs + lateness.adjustmentMs + SKEW_GRACE_MS
    if (store.ttlMs >= neededMs) return
    const message = `is ${store.ttlMs} and must be ${neededMs} at least: the longest period (${periodMs}), how late usage may come (${lateness.adjustmentMs}) and how far clocks may be ahead (${SKEW_GRACE_MS})`
    addIssue({ code: 'custom', path: ['store', 'ttlMs'], message })
  })

function isDedupStore(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { claim, settle, release, ttlMs } = value as Record<keyof DedupStore, unknown>
  return [claim, settle, release].every((method) => typeof method === 'function') && typeof ttlMs === 'number'
}

/**
 * Dedup in three steps. A Bloom filter says whether this process may have been given an identity before: if surely not,
 * the second step is spared, and that is all it decides. Then the identities that this process knows to be counted: those
 * are answered at once, and exactly. Everything else, whatever the filter says, is asked of the store, which all processes
 * share; and what that takes for new is new only when the ledger's unique index takes it.
 *
 * Throws `INVALID_OPTIONS`, also for a store that forgets before the last repetition may come: an event may be received
 * first five minutes before its period begins, by a clock ahead, and last `lateness.adjustmentMs` after it ends.
 */
export function createDedup(options: DedupOptions): Dedup {
  const parsed = parseOptions(optionsSchema, 'createDedup', options)
  const { store, policy, identitiesMax = IDENTITIES_MAX, platform = systemPlatform } = parsed
  const report = reporter(parsed.observe)
  const bloom = createBloomFilter({ ...parsed.bloom, platform })
  const counted = new CountedIdentities(identitiesMax)
  const stats = { claims: 0, bloomMisses: 0, memoryAnswers: 0, storeAnswers: 0, unknown: 0 }

  /** Asks the store; undefined when it failed, which is reported. */
  const ask = async <T>(
    operation: string,
    work: (options: { readonly signal?: AbortSignal }) => Promise<T>,
    signal: AbortSignal | undefined
  ): Promise<T | MeteringError<'STORE_FAILED'>> => {
    try {
      const options = signal === undefined ? {} : { signal }
      return await (policy === undefined ? work(options) : policy.execute(() => work(options), options))
    } catch (error) {
      const failure = storeFailure(operation, error, signal)
      if (failure === undefined) throw error
      report({ type: 'dedup.store-failed', error: failure })
      return failure
    }
  }

  return {
    async claim(claims, { signal } = {}) {
      signal?.throwIfAborted()
      checkClaims('dedup.claim', claims)
      const outcomes: (DedupOutcome | undefined)[] = []
      const asked: {
        readonly claim: DedupClaim
        readonly key: string
        readonly seenHere: boolean
        readonly at: number
      }[] = []
      for (const [at, claim] of claims.entries()) {
        const key = identityKey(claim)
        const seenHere = bloom.testAndAdd(key)
        const first = seenHere ? counted.get(key) : undefined
        if (first === undefined) asked.push({ claim, key, seenHere, at })
        else {
          const repeat = judgeRepeat(claim.payloadHash, first)
          outcomes[at] = repeat.outcome === 'duplicate' ? repeat : { ...repeat, settled: true }
        }
        if (!seenHere) stats.bloomMisses += 1
      }
      stats.claims += claims.length
      stats.memoryAnswers += claims.length - asked.length
      if (asked.length === 0) return outcomes as DedupOutcome[]
      const answers = await ask(
        'claim identities',
        (call) =>
          store.claim(
            asked.map(({ claim }) => claim),
            call
          ),
        signal
      )
      const isKnown = !(answers instanceof MeteringError)
      if (isKnown) stats.storeAnswers += asked.length
      else stats.unknown += asked.length
      for (const [index, { claim, key, seenHere, at }] of asked.entries()) {
        if (!isKnown) {
          outcomes[at] = { outcome: 'unknown', error: answers, seenHere }
          continue
        }
        const answer = answers[index] as DedupAnswer
        if (answer.outcome === 'duplicate') counted.add(key, claim.payloadHash, answer.firstReceivedAt)
        outcomes[at] = answer
      }
      return outcomes as DedupOutcome[]
    },

    async settle(claims, { signal } = {}) {
      signal?.throwIfAborted()
      checkClaims('dedup.settle', claims)
      for (const claim of claims) {
        const key = identityKey(claim)
        bloom.testAndAdd(key)
        counted.add(key, claim.payloadHash, claim.receivedAt)
      }
      if (claims.length > 0) await ask('settle identities', (call) => store.settle(claims, call), signal)
    },

    async release(claims, { signal } = {}) {
      signal?.throwIfAborted()
      checkClaims('dedup.release', claims)
      if (claims.length > 0) await ask('release identities', (call) => store.release(claims, call), signal)
    },

    stats: () => ({ ...stats })
  }
}
