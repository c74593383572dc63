import type { RefusalReason } from './outbound-request.ts'
import type { EgressEndpoint } from './partition-monitor.ts'

/**
 * What became of requests since the partition began. `buffered` is the sum of `replayed`, `expired`, `aborted`, `failed` and
 * `waiting`.
 */
export interface PartitionCounts {
  /** Came into the buffer, or were in it still from the partition before. */
  readonly buffered: number
  /** Answered. */
  readonly replayed: number
  readonly expired: number
  /** Given up by their callers. */
  readonly aborted: number
  /** Failed for a reason of their own, or as often as is tried; or sent, without a reply, and not to be repeated. */
  readonly failed: number
  /** In the buffer now. */
  readonly waiting: number
  /** Not taken in. */
  readonly refused: number
}

/** What an operator should hear of. Neither addresses' paths nor bodies nor keys are in it. */
export type PartitionEvent =
  | {
      readonly type: 'network.partitioned'
      readonly failed: readonly { readonly endpoint: EgressEndpoint; readonly error: unknown }[]
    }
  /** A round was good; it counts as connected after a few more. */
  | { readonly type: 'network.recovering' }
  /** Connected again; what waits is being replayed. */
  | { readonly type: 'network.recovered'; readonly partitionedMs: number; readonly counts: PartitionCounts }
  /** All that had waited has been answered or ended otherwise. */
  | { readonly type: 'network.drained'; readonly counts: PartitionCounts }
  | { readonly type: 'request.buffered'; readonly lane: string; readonly waiting: number; readonly bytes: number }
  | { readonly type: 'request.refused'; readonly lane: string; readonly reason: RefusalReason; readonly sent: boolean }
  | {
      readonly type: 'request.expired'
      readonly lane: string
      readonly limit: 'age' | 'deadline'
      readonly waitedMs: number
      readonly sent: boolean
    }
  | { readonly type: 'request.replayed'; readonly lane: string; readonly attempts: number; readonly waitedMs: number }
  /** A sandbox could not be checkpointed, or what was taken could not be kept; it is told of the partition all the same. */
  | { readonly type: 'sandbox.unsaved'; readonly sandboxId: string; readonly error: unknown }
