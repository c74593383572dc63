import type { JsonObject, Requester, Verdict } from '@enablement/core'
import type { ApprovalPolicy } from '../policy/policy.ts'

/** Open, or how it ended. `pending` alone can change. */
export type RequestStatus = 'pending' | 'approved' | 'denied' | 'timed-out' | 'cancelled'

/** What the library decides by itself is recorded under this name, which no person can have. */
export const SYSTEM_ESCALATION = 'system:escalation'

/** A request as its store keeps it. Instants are epoch milliseconds of the store's clock. */
export interface RequestRecord {
  readonly id: string
  readonly tenant: string
  readonly idempotencyKey: string
  readonly action: string
  readonly argumentHash: string
  readonly requestedBy: Requester
  readonly summary: string
  readonly detail: JsonObject
  /** As it was defined when the request was opened. */
  readonly policy: ApprovalPolicy
  readonly openedAt: number
  readonly status: RequestStatus
  /** Index of the tier that was asked last; those who belong to it or to an earlier one may decide. */
  readonly tier: number
  /** When that tier's wait ends; undefined once nothing follows by itself: settled, or queued. */
  readonly tierEndsAt: number | undefined
  /** Whether that tier's wait was begun anew because nobody had been alive to send its invitations. */
  readonly startedLate: boolean
  /** Whether the chain is exhausted and the request is held until someone decides. */
  readonly queued: boolean
  readonly deadlineAt: number | undefined
  readonly settlement: Settlement | undefined
  /** Votes that came too late or without authority, as far as they were recorded. */
  readonly refusedVotes: number
  readonly execution: ExecutionRecord
}

/** How a request came to its end. */
export interface Settlement {
  /** An approver's id, who cancelled it, or `system:…`. */
  readonly by: string
  readonly at: number
  readonly reason: string | undefined
}

/**
 * How far the effect of a request has got. `fence` counts the claims. `since` is when the state began, by the store's
 * clock.
 */
export type ExecutionRecord =
  /** Never claimed, or every effect so far said that it had none. */
  | { readonly state: 'idle'; readonly fence: number }
  | {
      readonly state: 'running'
      readonly fence: number
      /** Names the call that holds it, so that a claim whose reply was lost is recognised. */
      readonly claimId: string
      readonly since: number
      readonly leaseUntil: number
    }
  /** `result` is the JSON text of what the effect returned. */
  | { readonly state: 'executed'; readonly fence: number; readonly since: number; readonly result: string }
  | { readonly state: 'in-doubt'; readonly fence: number; readonly since: number }

/** When the escalation has to look at the request again: at the end of the tier's wait or at the deadline. */
export function nextDueAt({ status, tierEndsAt, deadlineAt }: RequestRecord): number | undefined {
  if (status !== 'pending') return undefined
  if (tierEndsAt === undefined || deadlineAt === undefined) return tierEndsAt ?? deadlineAt
  return Math.min(tierEndsAt, deadlineAt)
}

/** How the request ended, in the terms of core's seam; undefined while it is open. */
export function verdictOf({ id, status, settlement }: RequestRecord): Verdict | undefined {
  if (status === 'pending' || settlement === undefined) return undefined
  const { by, at, reason = '' } = settlement
  switch (status) {
    case 'approved':
      return { outcome: 'approved', requestId: id, by, decidedAt: at }
    case 'denied':
      return { outcome: 'denied', requestId: id, by, decidedAt: at, reason }
    case 'timed-out':
    case 'cancelled':
      return { outcome: status, requestId: id, decidedAt: at }
  }
}
