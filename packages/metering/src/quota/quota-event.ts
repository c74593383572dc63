import type { BreakerEvent } from '@enablement/core'
import type { MeteringError } from '../metering-error.ts'
import type { CounterName } from './charge.ts'
import type { Unavailable } from './quota-outcome.ts'

/** Whose quota an event is about. */
export interface QuotaSubject {
  readonly tenant: string
  /** Names below the tenant, from the top. */
  readonly path: readonly string[]
  readonly limits: readonly string[]
}

/** What quotas tell an observer. `tryConsume` tells nothing by the call: what a lease gave out is told when it ends. */
export type QuotaEvent =
  | (QuotaSubject & {
      readonly type: 'quota.consumed'
      readonly amount: number
      readonly remaining: number
      /** By an earlier call with the same key: a sum of what is consumed leaves these out. */
      readonly replayed: boolean
      /** Monotonic time that the store took. */
      readonly elapsedMs: number
    })
  | (QuotaSubject & {
      readonly type: 'quota.refused'
      readonly amount: number
      readonly level: CounterName
      readonly remaining: number
      readonly retryAt: number | null
      readonly elapsedMs: number
    })
  | (QuotaSubject & { readonly type: 'quota.conflicted'; readonly amount: number; readonly firstAmount: number })
  | (QuotaSubject & {
      readonly type: 'quota.unavailable'
      readonly amount: number
      /** Whether the posture lets the call go on without a decision. */
      readonly allowed: boolean
      readonly reason: Unavailable['reason']
      readonly error?: MeteringError<'STORE_FAILED'>
    })
  /** The store failed, and from leased units an amount was spent in its place. */
  | (QuotaSubject & { readonly type: 'quota.consumed-from-lease'; readonly amount: number; readonly leased: number })
  /** Units were leased for `tryConsume`. */
  | (QuotaSubject & { readonly type: 'quota.leased'; readonly units: number; readonly usableMs: number })
  /** A lease ended: `spent` of its `units` were used, the rest went back. */
  | (QuotaSubject & { readonly type: 'quota.lease-settled'; readonly units: number; readonly spent: number })
  /**
   * The store had ended the lease before the report came. `overrun` of what was spent is in no counter: with
   * `onLost: 'returned'` it may have been sold twice.
   */
  | (QuotaSubject & {
      readonly type: 'quota.lease-overdue'
      readonly units: number
      readonly spent: number
      readonly overrun: number
    })
  /** The clocks of this machine disagree: it slept, or was set. The lease was dropped. */
  | (QuotaSubject & { readonly type: 'quota.lease-dropped'; readonly units: number; readonly spent: number })
  /** No units could be leased. `tryConsume` says `ask` until they can. */
  | (QuotaSubject & { readonly type: 'quota.lease-failed'; readonly error: unknown })
  /** A hold ended. `overrun` of `actual` is in no counter. */
  | (QuotaSubject & {
      readonly type: 'quota.hold-settled'
      readonly key: string
      readonly actual: number
      readonly overrun: number
      readonly expired: boolean
    })
  /** A hold's time was over and nobody had ended it. */
  | { readonly type: 'quota.hold-expired'; readonly tenant: string; readonly scope: string; readonly key: string }
  /** What was let through while the store failed has been booked. */
  | (QuotaSubject & { readonly type: 'quota.booked'; readonly amount: number })
  /** What was let through, or settled, while the store failed is in no counter, and will be in none. */
  | (QuotaSubject & {
      readonly type: 'quota.unbooked'
      readonly amount: number
      /** `exceeded`: the limit has less left. `backlog-full`: too much waits. `closed`: the store did not come back. */
      readonly because: 'exceeded' | 'conflict' | 'unknown-hold' | 'unknown-limit' | 'backlog-full' | 'closed'
    })
  /** What waits for one quota could not be booked: by a bug of the store's, or a limit that contradicts itself. It is tried again. */
  | (QuotaSubject & { readonly type: 'quota.backlog-failed'; readonly error: unknown })
  /** The breaker in front of the store. */
  | BreakerEvent
