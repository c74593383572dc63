import type { ClaimRefusal } from './claim.ts'
import type { Freshness } from './freshness.ts'
import type { ClaimSource } from './pool-metrics.ts'
import type { RolloutStatus } from './rollout.ts'

/** Which claim an event is about. */
export interface ClaimRef {
  readonly claimId: string
  readonly tenant: string
  readonly agent: string
}

/** What a pool tells its observer, by `type`. */
export type PoolEvent =
  /** Fewer sandboxes are ready than `min`. Once, until there are as many again. */
  | { readonly type: 'pool.exhausted'; readonly free: number; readonly min: number; readonly queueDepth: number }
  | { readonly type: 'pool.replenished'; readonly free: number }
  /** Sandboxes kept failing to start. Nothing is started for `retryAfterMs`; what is ready is handed out. */
  | { readonly type: 'pool.degraded'; readonly retryAfterMs: number; readonly error: unknown }
  | { readonly type: 'pool.recovered' }
  /** The store did not answer; it is asked again. Once, until it has answered. */
  | { readonly type: 'pool.state-silent'; readonly error: unknown }
  | { readonly type: 'pool.state-answered' }
  /** The store had given this process up, which was silent for longer than its lease. It has joined again. */
  | { readonly type: 'pool.lapsed'; readonly claims: number }
  | (ClaimRef & {
      readonly type: 'claim.granted'
      readonly sandboxId: string
      readonly from: ClaimSource
      readonly waitedMs: number
      readonly fence: number
    })
  | (ClaimRef & { readonly type: 'claim.refused'; readonly reason: ClaimRefusal; readonly waitedMs: number })
  | (ClaimRef & { readonly type: 'claim.ended'; readonly outcome: 'released' | 'gone' | 'preempted' })
  /** A claim got a sandbox beyond the capacity. */
  | (ClaimRef & {
      readonly type: 'sla.warning'
      readonly warning: 'cold_start_fallback'
      readonly position: number
      readonly waitedMs: number
      readonly hitRate: number | null
    })
  /** The claim was to make way, could not be saved, and goes on. */
  | (ClaimRef & { readonly type: 'preemption.failed'; readonly error: unknown })
  /** A sandbox was not handed out, and is ended. */
  | { readonly type: 'sandbox.rejected'; readonly sandboxId: string; readonly freshness: Freshness }
  | { readonly type: 'sandbox.not-started'; readonly error: unknown }
  | { readonly type: 'rollout.paused'; readonly status: RolloutStatus }
  | { readonly type: 'rollout.complete'; readonly status: RolloutStatus }
