import type { JsonObject, Requester, Verdict } from '@enablement/core'
import type { Seat } from '../directory/seat.ts'
import type { OnTimeout } from '../policy/on-timeout.ts'
import type { ApprovalPolicy } from '../policy/policy.ts'
import type { Risk } from '../policy/risk.ts'
import type { Vote } from '../vote/vote-record.ts'
import type { ContextStatus } from './context-status.ts'
import type { InvitationRecord } from './invitation-record.ts'
import type { RequestComment } from './request-view.ts'

/** Open, or how it ended. `revoked` is an approval that was taken back before it was used. */
export type RequestStatus = 'pending' | 'approved' | 'denied' | 'timed-out' | 'cancelled' | 'revoked'

export const STATUSES: readonly RequestStatus[] = ['pending', 'approved', 'denied', 'timed-out', 'cancelled', 'revoked']

/** What is asked. It changes by an edit alone. */
export interface Matter {
  readonly requestedBy: Requester
  readonly task: string | undefined
  readonly risk: Risk
  readonly summary: string
  readonly detail: JsonObject
  /** As much of the detail as messages may carry. */
  readonly excerpt: JsonObject
  readonly context: ContextStatus | undefined
  /** As it was defined when the request was opened, and the hash of it that votes are bound to. */
  readonly policy: ApprovalPolicy
  readonly policyVersion: string
  readonly onTimeout: OnTimeout
  /** Whether what is asked can be undone; see `AutoApproval`. */
  readonly reversible: boolean
}

/** How far it has got. */
export interface Course {
  /** Everyone who is behind the request, as far as is known; none of them may decide. */
  readonly principals: readonly string[]
  /** Index of the tier that was asked last, -1 for none; those who sit in it or in an earlier one may decide. */
  readonly tier: number
  /** When that tier's wait ends; undefined once nothing follows by itself: settled, or queued. */
  readonly tierEndsAt: number | undefined
  readonly remindAt: number | undefined
  /** When votes that are there already decide, if nobody of more weight has voted by then. */
  readonly settleAt: number | undefined
  /** Whether that tier's wait was begun anew because nobody had been alive to send its invitations. */
  readonly startedLate: boolean
  /** Whether the directory has yet to say who sits in that tier. */
  readonly unseated: boolean
  /** Whether the chain is exhausted and the request is held until someone decides. */
  readonly queued: boolean
  readonly deadlineAt: number | undefined
  readonly extensions: number
  /** Everyone who was asked, by tier. */
  readonly seats: readonly (Seat & { readonly tier: number; readonly askedAt: number })[]
  readonly invitations: readonly InvitationRecord[]
  /** In the order of their commits; those for an earlier version are gone. */
  readonly votes: readonly Vote[]
  readonly comments: readonly (RequestComment & { readonly key: string | undefined })[]
  readonly edits: readonly {
    readonly by: string
    readonly at: number
    readonly version: number
    readonly reason: string
    /** What was asked before. */
    readonly before: JsonObject
  }[]
  /** Who was shown which version in full, and when for the first time. */
  readonly views: readonly { readonly by: string; readonly version: number; readonly at: number }[]
  readonly settlement: Settlement | undefined
  /** Who took the approval back, and when; `settlement` is the approval then. */
  readonly revocation: Settlement | undefined
  /** By how much its steps came after the instants at which they were due, at most. */
  readonly lateByMs: number
  /** Votes that came too late or without authority, as far as they were recorded. */
  readonly refusedVotes: number
  readonly execution: ExecutionRecord
}

/** How far a request has got that nobody was asked about yet. */
export const UNTOUCHED: Omit<Course, 'principals'> = {
  tier: -1,
  tierEndsAt: undefined,
  remindAt: undefined,
  settleAt: undefined,
  startedLate: false,
  unseated: false,
  queued: false,
  deadlineAt: undefined,
  extensions: 0,
  seats: [],
  invitations: [],
  votes: [],
  comments: [],
  edits: [],
  views: [],
  settlement: undefined,
  revocation: undefined,
  lateByMs: 0,
  refusedVotes: 0,
  execution: { state: 'idle', fence: 0 }
}

/** A request as its store keeps it. Instants are epoch milliseconds of the store's clock. */
export interface RequestRecord extends Matter, Course {
  /** A UUIDv7: ids are in the order of openings. */
  readonly id: string
  readonly tenant: string
  /** That of the call which opened it; others may have been given the same request since. */
  readonly idempotencyKey: string
  readonly action: string
  readonly openedAt: number
  /** 1, and one more for each edit. */
  readonly version: number
  readonly argumentHash: string
  /** The hash of what it was opened for, before any edit: a key that comes again brings that. */
  readonly openedHash: string
  readonly status: RequestStatus
  /** While it is open, what identical requests have in common; undefined where each is asked for itself. */
  readonly identity: string | undefined
}

/** How a request came to its end. */
export interface Settlement {
  /** An approver's id, a grant's as `grant:…`, who cancelled or revoked it, or `system:…`. */
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
  | {
      readonly state: 'in-doubt'
      readonly fence: number
      readonly since: number
      /** When the action's `reconcile` is asked next; undefined when it has none, or has been asked for long enough. */
      readonly reconcileAt: number | undefined
      readonly reconciliations: number
    }

/** When the escalation has to look at the request again. */
export function nextDueAt(request: RequestRecord): number | undefined {
  if (request.status !== 'pending') return undefined
  const { tierEndsAt, remindAt, settleAt, deadlineAt } = request
  const next = Math.min(
    tierEndsAt ?? Number.POSITIVE_INFINITY,
    remindAt ?? Number.POSITIVE_INFINITY,
    settleAt ?? Number.POSITIVE_INFINITY,
    deadlineAt ?? Number.POSITIVE_INFINITY
  )
  return Number.isFinite(next) ? next : undefined
}

/** When the execution has to be looked at: at the end of a running lease, or when one in doubt is to be reconciled. */
export function executionDueAt({ execution }: RequestRecord): number | undefined {
  if (execution.state === 'running') return execution.leaseUntil
  return execution.state === 'in-doubt' ? execution.reconcileAt : undefined
}

/** Those who are waited for: everyone who was asked, while the request is open. */
export function askedApprovers({ status, seats }: RequestRecord): readonly string[] {
  return status === 'pending' ? [...new Set(seats.map(({ approver }) => approver))] : []
}

/** The invitations to decide on what is asked now, and not on what it was before an edit. */
export function currentInvitations({ invitations, version }: RequestRecord): readonly InvitationRecord[] {
  return version === 1 ? invitations : invitations.filter((invitation) => invitation.version === version)
}

/** How the request ended, in the terms of core's seam; undefined while it is open. */
export function verdictOf({ id, status, settlement, revocation }: RequestRecord): Verdict | undefined {
  const ended = revocation ?? settlement
  if (status === 'pending' || ended === undefined) return undefined
  const { by, at, reason = '' } = ended
  switch (status) {
    case 'approved':
      return { outcome: 'approved', requestId: id, by, decidedAt: at }
    case 'denied':
    case 'revoked':
      return { outcome: status, requestId: id, by, decidedAt: at, reason }
    case 'timed-out':
    case 'cancelled':
      return { outcome: status, requestId: id, decidedAt: at }
  }
}
