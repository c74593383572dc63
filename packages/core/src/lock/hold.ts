import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import type { Clock, Timer } from '../time/clock.ts'
import { elapsedSince, type Reading, read } from '../time/reckoning.ts'
import type { LockEvent, LockLoss, LockLossReason } from './lock-event.ts'
import { type LeaseClaim, type LockStore, leaseMsSchema } from './lock-store.ts'

/** A lock as its holder sees it. */
export interface LockHold {
  readonly name: string
  /**
   * Higher than that of every earlier holder of this name. Send it along with every write, and let what is written to
   * refuse lower ones: between a look at the clock and the write any amount of time may pass. See `admitFence`.
   */
  readonly fence: number
  /**
   * Aborts when the lock is lost, before the store would give it to anybody else, with a `CoreError` as reason. A
   * process that is paused or asleep is told when it wakes; the fence is for what it does before.
   */
  readonly signal: AbortSignal
  /** How the lock was lost; undefined while it is held, and after a release in time. */
  readonly loss: LockLoss | undefined
  /**
   * For how long the lock is surely held, at the least; 0 when it is lost or released. Looks at both clocks, so a check
   * right before an effect finds out what no timer has told yet.
   */
  remainingMs(): number
}

/** The answer to an extension. */
export type LockExtension =
  | { readonly outcome: 'extended'; readonly remainingMs: number }
  | ({ readonly outcome: 'lost' } & LockLoss)

/** The answer to a release. `lost` says that the lock was not held to the end: somebody else may have had it meanwhile. */
export type LockRelease = { readonly outcome: 'released' } | ({ readonly outcome: 'lost' } & LockLoss)

/** A lock that was acquired. Disposing of it releases it, and drops what the release throws: the lease ends by itself. */
export interface AcquiredLock extends LockHold, AsyncDisposable {
  readonly outcome: 'acquired'
  /**
   * Lets the lease end `ttlMs` from now, or that of the claim; never earlier than before. Throws `CLOSED` after a
   * release, `INVALID_OPTIONS`, and what the store throws, after which the lock is held as long as it was.
   */
  extend(options?: { readonly ttlMs?: number }): Promise<LockExtension>
  /** Gives the lock back. Later calls answer the same. Throws what the store throws, and may then be called again. */
  release(): Promise<LockRelease>
}

/** What a hold is made from. */
export interface HoldOptions {
  readonly store: LockStore
  readonly clock: Clock
  readonly claim: LeaseClaim
  readonly fence: number
  /** When the store was asked for the lease: the lease lasts at least `claim.ttlMs` from here. */
  readonly askedAt: Reading
  /** The share of a lease during which it is no longer used, in (0, 1). */
  readonly marginRatio: number
  /** For how long it is extended on its own; undefined for not at all. */
  readonly extendForMs: number | undefined
  readonly report: (event: LockEvent) => void
  /** Called when the store has released the lease, for whoever waits in this process. */
  readonly onReleased: () => void
}

/** The factory's own view of a held lock. */
export interface Hold {
  readonly lock: AcquiredLock
  /** Aborts the holder's signal for a reason that is not a loss: the caller wants the work to end. */
  interrupt(reason: unknown): void
}

const extendOptions: z.ZodType<{ readonly ttlMs?: number }> = z.strictObject({ ttlMs: leaseMsSchema.exactOptional() })

/** Two failures of the store in a row still leave time for a third try. */
const EXTENSION_RATIO = 1 / 3

/** The longest a sleep goes unnoticed after waking, whatever the lease: a look at two clocks costs nothing. */
const LOOK_MAX_MS = 1_000

/** Less than this is not worth a timer, which might not even see the time move: fractions of it are below a clock's step. */
const NOTHING_MS = 0.001

/** What is left of a lease of `ttlMs` to a holder who stops `marginRatio` of it early. */
export function usableMs(ttlMs: number, marginRatio: number): number {
  return ttlMs - Math.ceil(ttlMs * marginRatio)
}

/**
 * Holds a granted lease: looks at the clocks, extends, and aborts the signal when the lease is lost. Time counts from
 * before the store was asked, so that however long the answer took, the holder stops first.
 */
export function startHold(options: HoldOptions): Hold {
  const { store, clock, claim, fence, askedAt, marginRatio, extendForMs, report, onReleased } = options
  const { name, owner } = claim
  const controller = new AbortController()
  /** The latest lease that the store confirmed. */
  let lease = { askedAt, usableMs: usableMs(claim.ttlMs, marginRatio) }
  let state: 'held' | 'released' | 'lost' = 'held'
  let loss: LockLoss | undefined
  let timer: Timer | undefined
  let extending = false
  let releasing: Promise<LockRelease> | undefined

  const lose = (reason: LockLossReason): LockLoss => {
    if (loss !== undefined) return loss
    loss = { reason, name, fence, heldMs: Math.max(0, Math.round(elapsedSince(askedAt, clock).ms)) }
    state = 'lost'
    timer?.cancel()
    const message = `the lock ${name} was lost after ${loss.heldMs} ms: ${EXPLANATIONS[reason]}`
    controller.abort(new CoreError('LOCK_LOST', message, { lock: name, fence, heldMs: loss.heldMs }))
    report({ type: 'lock.lost', ...loss })
    return loss
  }

  /** What is left of the lease, losing it when that is nothing. */
  const look = (): number => {
    if (state !== 'held') return 0
    const { ms, monotonicMs } = elapsedSince(lease.askedAt, clock)
    if (lease.usableMs - ms < NOTHING_MS) {
      lose(lease.usableMs - monotonicMs < NOTHING_MS ? 'expired' : 'suspended')
      return 0
    }
    if (extendForMs !== undefined && elapsedSince(askedAt, clock).ms >= extendForMs) {
      lose('held-too-long')
      return 0
    }
    return lease.usableMs - ms
  }

  const lossNow = (): LockLoss | undefined => {
    look()
    return loss
  }

  const extend = async (ttlMs: number): Promise<LockExtension> => {
    if (state === 'released') throw new CoreError('CLOSED', `the lock ${name} was released`, { what: `lock ${name}` })
    const before = lossNow()
    if (before !== undefined) return { outcome: 'lost', ...before }
    const extendedAt = read(clock)
    const answer = await store.extend({ name, owner, ttlMs })
    if (answer === 'lost' && state === 'held') lose('disowned')
    // An answer that came too late does not bring back what its holder was told to have lost.
    const after = lossNow()
    if (after !== undefined) return { outcome: 'lost', ...after }
    const extended = { askedAt: extendedAt, usableMs: usableMs(ttlMs, marginRatio) }
    if (endOf(extended) > endOf(lease)) lease = extended
    return { outcome: 'extended', remainingMs: look() }
  }

  const extendAlone = async (): Promise<void> => {
    extending = true
    try {
      await extend(claim.ttlMs)
    } catch (error) {
      if (state === 'held') report({ type: 'lock.extension-failed', name, fence, remainingMs: look(), error })
    } finally {
      extending = false
    }
  }

  const lookMs = Math.min(LOOK_MAX_MS, Math.max(1, (claim.ttlMs * marginRatio) / 2))
  const watch = (): void => {
    const remainingMs = look()
    if (state !== 'held') return
    const isDue = elapsedSince(lease.askedAt, clock).ms >= claim.ttlMs * EXTENSION_RATIO
    if (extendForMs !== undefined && isDue && !extending) void extendAlone()
    timer = clock.startTimer(Math.min(lookMs, remainingMs), watch, { background: true })
  }
  watch()

  const release = async (): Promise<LockRelease> => {
    look()
    if (state === 'held') state = 'released'
    timer?.cancel()
    const answer = await store.release({ name, owner })
    if (answer === 'lost') lose('disowned')
    else onReleased()
    return loss === undefined ? { outcome: 'released' } : { outcome: 'lost', ...loss }
  }
  const releaseOnce = (): Promise<LockRelease> => {
    releasing ??= release().catch((error: unknown) => {
      releasing = undefined
      throw error
    })
    return releasing
  }

  return {
    lock: {
      outcome: 'acquired',
      name,
      fence,
      signal: controller.signal,
      get loss() {
        return loss
      },
      remainingMs: look,
      async extend(given = {}) {
        const { ttlMs = claim.ttlMs } = parseOptions(extendOptions, 'lock.extend', given)
        return extend(ttlMs)
      },
      release: releaseOnce,
      async [Symbol.asyncDispose]() {
        await releaseOnce().catch((error: unknown) => report({ type: 'lock.release-failed', name, error }))
      }
    },
    interrupt: (reason) => controller.abort(reason)
  }
}

const EXPLANATIONS: Readonly<Record<LockLossReason, string>> = {
  expired: 'its lease ran out',
  suspended: 'its lease ran out while the machine slept or its wall clock was set forward',
  disowned: 'the store has given it away, has let it expire or has forgotten it',
  'held-too-long': 'it was held for as long as it may be'
}

function endOf(lease: { readonly askedAt: Reading; readonly usableMs: number }): number {
  return lease.askedAt.monotonic + lease.usableMs
}
