import type { Clock } from '@enablement/core'

/** How a changed template reaches the sandboxes that are ready. Those that are claimed are never touched. */
export interface RolloutOptions {
  /**
   * `rolling`: `maxUnavailable` at a time; `recreate`: all at once; `onReplenish`: none, each is replaced when a claim
   * finds it stale. Stale ones are not handed out, whichever it is.
   */
  readonly strategy: 'rolling' | 'recreate' | 'onReplenish'
  /** Sandboxes that may be under way in the place of stale ones at any time: 1 unless given. */
  readonly maxUnavailable?: number
  /** How long it may take before it pauses: 10 minutes unless given. */
  readonly deadlineMs?: number
}

/** How a rollout stands. */
export interface RolloutStatus {
  /** `paused`: a new sandbox did not start, and it goes on when one starts; or the deadline passed. `update` begins anew. */
  readonly state: 'rolling' | 'paused' | 'complete'
  /** Of the configuration's whole hash. */
  readonly hash: string
  /** Sandboxes of the new template that were started. */
  readonly updated: number
  /** Of them, ready now. */
  readonly ready: number
  /** Not replaced yet. */
  readonly stale: number
  /** Epoch milliseconds. */
  readonly deadlineAt: number
}

/** Follows a rollout; what it needs to know of the stock is told it. */
export interface Rollout {
  /** How many stale sandboxes may be replaced now, with `replacing` under way. */
  room(replacing: number): number
  /** A sandbox has started. */
  started(): void
  /** One has not. Gives true when that paused it. */
  failed(): boolean
  /** Looks at the deadline and at what is left. Gives what changed. */
  check(left: number): 'paused' | 'complete' | undefined
  status(stock: { readonly hash: string; readonly ready: number; readonly stale: number }): RolloutStatus
}

const DEADLINE_MS = 600_000

export function startRollout(
  clock: Clock,
  { strategy, maxUnavailable = 1, deadlineMs = DEADLINE_MS }: RolloutOptions
): Rollout {
  const deadlineAt = clock.now() + deadlineMs
  const endsAt = clock.monotonic() + deadlineMs
  let state: RolloutStatus['state'] = 'rolling'
  let updated = 0
  let isLate = false
  return {
    room(replacing) {
      if (state !== 'rolling' || strategy === 'onReplenish') return 0
      return strategy === 'recreate' ? Number.POSITIVE_INFINITY : Math.max(0, maxUnavailable - replacing)
    },
    started() {
      updated += 1
      if (state === 'paused' && !isLate) state = 'rolling'
    },
    failed() {
      if (state !== 'rolling') return false
      state = 'paused'
      return true
    },
    check(left) {
      if (state === 'complete') return undefined
      if (left === 0) {
        state = 'complete'
        return 'complete'
      }
      if (state === 'paused' || strategy === 'onReplenish' || clock.monotonic() < endsAt) return undefined
      isLate = true
      state = 'paused'
      return 'paused'
    },
    status: ({ hash, ready, stale }) => ({ state, hash, updated, ready, stale, deadlineAt })
  }
}
