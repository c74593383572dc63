import type { Sandbox } from '../sandbox/sandbox.ts'
import type { ClaimSource } from './pool-metrics.ts'
import type { AssignOptions } from './prepared-sandbox.ts'

/** How urgent a claim is. Each word is worth `agingMs` of waiting more than the one before. */
export type ClaimPriority = 'low' | 'normal' | 'high' | 'critical'

/** Who wants a sandbox, and how. */
export interface ClaimOptions extends AssignOptions {
  /** `normal` unless given. */
  readonly priority?: ClaimPriority
  /** Never give its sandbox up for a claim of higher priority. */
  readonly nonPreemptible?: boolean
  /** When it is preempted, queue again at once, with the wait that it had: see `ClaimEnd`. */
  readonly requeue?: boolean
  /** While a claim of the same tenant and key waits or is held in this process, it is that one. 1 to 200 characters. */
  readonly idempotencyKey?: string
}

/** A sandbox that is somebody's until it is released. It is never handed out a second time. */
export interface PoolClaim extends AsyncDisposable {
  readonly id: string
  readonly tenant: string
  readonly agent: string
  /** Higher than that of every claim of the pool that was granted before, in whatever process. */
  readonly fence: number
  /** Ends the sandbox and gives its place to whoever waits first. Resolves when it has ended. */
  release(): Promise<void>
  /** How it ended; does not reject. */
  readonly ended: Promise<ClaimEnd>
}

/** How a claim ended. */
export type ClaimEnd =
  /** Released, or its sandbox was closed, or its pool was. */
  | { readonly outcome: 'released' }
  /** Its sandbox is gone: terminated or out of memory, as the evaluation said. */
  | { readonly outcome: 'gone' }
  /** A claim of higher priority has its place. Nothing of its work is lost: `runtime.restore` takes the checkpoint. */
  | {
      readonly outcome: 'preempted'
      readonly checkpoint: Uint8Array<ArrayBuffer>
      /** Of a claim with `requeue`: the claim that comes of it, whose sandbox is restored from the checkpoint. */
      readonly requeued?: Promise<ClaimOutcome>
    }

/** Why a claim got nothing. */
export type ClaimRefusal =
  /** Everything is taken, beyond the capacity too, and the queue was too long or the wait over. */
  | 'exhausted'
  /** As many claims wait as may, of all or of the tenant. */
  | 'queue-full'
  /** The tenant holds as many claims as it may. */
  | 'tenant-limit'
  /** Sandboxes cannot be started at present, and none is ready. */
  | 'degraded'
  /** The sandbox for it could not be started. */
  | 'start-failed'
  /** The store that processes share did not answer in time. */
  | 'state-silent'
  /** The pool was closed meanwhile. */
  | 'closed'

/** What becomes of a claim. */
export type ClaimOutcome =
  | {
      readonly outcome: 'claimed'
      readonly sandbox: Sandbox
      readonly claim: PoolClaim
      /** `warm`: it had been kept ready; `cold`: it was started for this claim; `checkpoint`: restored for it. */
      readonly from: ClaimSource
      readonly waitedMs: number
      readonly fence: number
      /** It was started beyond the capacity, because the pool was exhausted. */
      readonly warning?: 'cold_start_fallback'
    }
  | {
      readonly outcome: 'refused'
      readonly reason: ClaimRefusal
      readonly waitedMs: number
      /** Its place in the queue when it was refused, from 1. */
      readonly position?: number
      /** When asking again makes sense: the median of recent cold starts, or the end of a pause. A guess. */
      readonly etaMs?: number
    }
