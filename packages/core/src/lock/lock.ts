import { z } from 'zod'
import { createIdSource } from '../chance/uuid-v7.ts'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { elapsedSince, read } from '../time/reckoning.ts'
import { type AcquiredLock, type Hold, type LockHold, startHold, usableMs } from './hold.ts'
import type { LockEvent, LockLoss } from './lock-event.ts'
import { type LeaseClaim, type LeaseGrant, type LockStore, leaseMsSchema, nameSchema } from './lock-store.ts'
import { createWaiting } from './waiting.ts'

export interface LockOptions {
  readonly store: LockStore
  /** How long a lease of `withLock` lasts between extensions; 30,000 ms unless given. A dead holder blocks this long. */
  readonly ttlMs?: number
  /**
   * The share of each lease, at its end, during which the holder has already stopped: 0.1 unless given, 0.02 to 0.5.
   * It covers clocks that run at different rates, timers that fire late, and what is on its way when the signal aborts.
   * The round trip to the store needs none of it, since time counts from before the request.
   */
  readonly marginRatio?: number
  /** How often a waiting claim asks, give or take half of it at random; 100 ms unless given, 5 ms to a minute. */
  readonly pollMs?: number
  readonly platform?: Platform
  /** What it throws or rejects with is dropped: a report must not cost the lock. */
  readonly observe?: (event: LockEvent) => void
}

export interface AcquireOptions {
  /** How long the lease lasts unless extended: an integer from 50 ms to a day. */
  readonly ttlMs: number
  /** How long to wait for others, up to a day; 0, which is not at all, unless given. */
  readonly waitMs?: number
  /** Ends the waiting. Once acquired it has no effect. */
  readonly signal?: AbortSignal | undefined
  /** Extends on its own while the process lives, for as long as this: a bound on what a forgotten lock blocks. */
  readonly extendForMs?: number
}

export interface WithLockOptions {
  /** That of the factory unless given. */
  readonly ttlMs?: number
  /** How long to wait for others, up to a day; 0, which is not at all, unless given. */
  readonly waitMs?: number
  /** How long the lock is held at most, so that work that hangs blocks others for no longer; a day unless given. */
  readonly holdMaxMs?: number
  /** Ends the waiting, and aborts the signal of the work. */
  readonly signal?: AbortSignal | undefined
}

/** Somebody else has the lock until `until`, epoch milliseconds by the store's clock, unless extended or released. */
export interface LockBusy {
  readonly outcome: 'busy'
  readonly until: number
}

/** How work under a lock ended. Work that throws while it has the lock makes `withLock` throw the same. */
export type Locked<T> =
  /** The work ended, and nobody else had the lock from before it began until then. */
  | { readonly outcome: 'done'; readonly value: T; readonly fence: number }
  /** The work was not begun. */
  | LockBusy
  /** The lock was lost before the work ended, so others may have worked at the same time. How the work ended all the same. */
  | ({ readonly outcome: 'lost'; readonly work: PromiseSettledResult<T> } & LockLoss)

/** Mutual exclusion by name, among everybody who uses the store. */
export interface Lock {
  /**
   * Runs `work` with the lock, extending the lease while it runs, and releases it afterwards. The work's signal aborts
   * when the lock is lost or the caller's signal aborts; `withLock` waits for the work to end either way.
   *
   * Throws `INVALID_OPTIONS`, what the store throws on acquiring, `OVERLOADED` when 1,024 callers of this process wait
   * for the name, the signal's reason when it aborts before the work has begun, and what the work throws. A release that
   * fails is reported, and the lease ends by itself.
   */
  withLock<T>(name: string, work: (hold: LockHold) => T | Promise<T>, options?: WithLockOptions): Promise<Locked<T>>
  /**
   * Acquires the lock for the caller to release. Throws `INVALID_OPTIONS`, what the store throws (`STORE_UNAVAILABLE`
   * too when its answer took so long that the lease was used up), `OVERLOADED` when 1,024 callers of this process wait
   * for the name, and the signal's reason when it aborts first.
   */
  acquire(name: string, options: AcquireOptions): Promise<AcquiredLock | LockBusy>
}

const TTL_MS = 30_000
const MARGIN_RATIO = 0.1
const POLL_MS = 100
const WAIT_MAX_MS = 86_400_000
const HOLD_MAX_MS = 86_400_000

const signalSchema = z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'must be an AbortSignal').optional()
const waitMsSchema = z.number().min(0).max(WAIT_MAX_MS)
/** Lets clocks that differ by 1 %, a thousand times what quartz does, meet the margin of the shortest lease. */
const marginRatioSchema = z.number().min(0.02).max(0.5)
const spanSchema = z.number().min(1).max(HOLD_MAX_MS)

const lockOptions: z.ZodType<LockOptions> = z.strictObject({
  store: z.custom<LockStore>((value) => typeof value === 'object' && value !== null && 'acquire' in value),
  ttlMs: leaseMsSchema.exactOptional(),
  marginRatio: marginRatioSchema.exactOptional(),
  pollMs: z.number().min(5).max(60_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: LockEvent) => void>((value) => typeof value === 'function').exactOptional()
})

const acquireOptions: z.ZodType<AcquireOptions & { readonly name: string }> = z.strictObject({
  name: nameSchema,
  ttlMs: leaseMsSchema,
  waitMs: waitMsSchema.exactOptional(),
  signal: signalSchema,
  extendForMs: spanSchema.exactOptional()
})

const withLockOptions: z.ZodType<WithLockOptions & { readonly name: string }> = z.strictObject({
  name: nameSchema,
  ttlMs: leaseMsSchema.exactOptional(),
  waitMs: waitMsSchema.exactOptional(),
  holdMaxMs: spanSchema.exactOptional(),
  signal: signalSchema
})

/**
 * Locks by name on a store that the contenders share. A lease can end while its holder still works (a paused process, a
 * machine asleep, a store that cannot be reached), and no lock can prevent that: here the holder's signal aborts before
 * the lease ends, and every lease has a fence with which what is written to can refuse a holder that did not notice.
 *
 * Expiry is the store's clock's business. Set forward it ends leases early, set back it ends them late; the holder
 * counts on its own clocks and never compares them with the store's.
 *
 * Not reentrant: a holder that asks again waits for itself. Fair within one process, where those who wait for a name
 * get it in the order they came; among processes whoever asks first after a release gets it, and no bound is promised.
 * A claim without `waitMs` does not queue and may overtake.
 *
 * Throws `INVALID_OPTIONS`.
 */
export function createLock(options: LockOptions): Lock {
  const parsed = parseOptions(lockOptions, 'createLock', options)
  const { store, ttlMs: usualTtlMs = TTL_MS, marginRatio = MARGIN_RATIO, pollMs = POLL_MS, observe } = parsed
  const { platform = systemPlatform } = parsed
  const { clock } = platform
  const nextOwner = createIdSource(platform)
  const waiting = createWaiting({ platform, pollMs })

  const report = reporter<LockEvent>(observe)

  /** Ends a lease, or one that may have been granted, which nobody will use. */
  const giveBack = async ({ name, owner }: LeaseClaim): Promise<void> => {
    await store.release({ name, owner }).catch((error: unknown) => report({ type: 'lock.release-failed', name, error }))
  }

  /** Asks once, and once more when the answer was lost: the owner is the idempotency key. */
  const ask = async (claim: LeaseClaim, signal: AbortSignal | undefined): Promise<LeaseGrant> => {
    try {
      return await store.acquire(claim, { signal })
    } catch (error) {
      if (!isSuiteError(error, 'COMMIT_UNKNOWN')) throw error
    }
    try {
      return await store.acquire(claim, { signal })
    } catch (error) {
      // Not awaited: a store that has twice not answered is not worth waiting for.
      void giveBack(claim)
      throw error
    }
  }

  const hold = async (name: string, options: AcquireOptions): Promise<Hold | LockBusy> => {
    const { ttlMs, waitMs = 0, signal, extendForMs } = options
    signal?.throwIfAborted()
    const claim = { name, owner: nextOwner(), ttlMs }
    const attempt = async (): Promise<Hold | Extract<LeaseGrant, { outcome: 'busy' }>> => {
      const askedAt = read(clock)
      const grant = await ask(claim, signal)
      if (grant.outcome === 'busy') return grant
      const tookMs = elapsedSince(askedAt, clock).ms
      if (signal?.aborted === true || tookMs >= usableMs(ttlMs, marginRatio)) {
        await giveBack(claim)
        signal?.throwIfAborted()
        const message = `the lease of ${name} lasts ${ttlMs} ms, and the store took ${Math.round(tookMs)} ms to grant it`
        throw new CoreError('STORE_UNAVAILABLE', message, { store: 'lock store', operation: 'acquire a lock' })
      }
      const { fence } = grant
      const onReleased = (): void => waiting.wake(name)
      return startHold({ store, clock, claim, fence, askedAt, marginRatio, extendForMs, report, onReleased })
    }
    const answer = await waiting.until(name, attempt, { waitMs, signal })
    return 'outcome' in answer ? { outcome: 'busy', until: answer.until } : answer
  }

  return {
    async acquire(name, options) {
      const { name: checkedName, ...checked } = parseOptions(acquireOptions, 'lock.acquire', { ...options, name })
      const held = await hold(checkedName, checked)
      return 'outcome' in held ? held : held.lock
    },
    async withLock(name, work, options = {}) {
      const checked = parseOptions(withLockOptions, 'lock.withLock', { ...options, name })
      const { ttlMs = usualTtlMs, waitMs = 0, holdMaxMs = HOLD_MAX_MS, signal } = checked
      const held = await hold(name, { ttlMs, waitMs, signal, extendForMs: holdMaxMs })
      if ('outcome' in held) return held
      const { lock, interrupt } = held
      const onAbort = (): void => interrupt(signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      const [ended] = await Promise.allSettled([(async () => work(lock))()])
      signal?.removeEventListener('abort', onAbort)
      // Reports a failure; a loss, found out now at the latest, is in `lock.loss`.
      await lock[Symbol.asyncDispose]()
      if (lock.loss !== undefined) return { outcome: 'lost', ...lock.loss, work: ended }
      if (ended.status === 'rejected') throw ended.reason
      return { outcome: 'done', value: ended.value, fence: lock.fence }
    }
  }
}
