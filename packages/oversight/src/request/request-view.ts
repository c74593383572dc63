import type { JsonObject, Requester, Verdict } from '@enablement/core'
import type { Seat } from '../directory/seat.ts'
import type { Risk } from '../policy/risk.ts'
import type { ContextStatus } from './context-status.ts'
import { type RequestRecord, verdictOf } from './request.ts'

/** A request as approvers and operators see it. Instants are epoch milliseconds of the store's clock. */
export interface RequestView {
  readonly id: string
  readonly tenant: string
  readonly action: string
  readonly status: 'pending' | 'approved' | 'denied' | 'timed-out' | 'cancelled' | 'revoked'
  /** 1, and one more for each edit. */
  readonly version: number
  readonly argumentHash: string
  readonly policyVersion: string
  readonly risk: Risk
  readonly requestedBy: Requester
  readonly summary: string
  readonly detail: JsonObject
  /** As much of it as messages may carry. */
  readonly excerpt: JsonObject
  readonly context: ContextStatus | undefined
  readonly openedAt: number
  /** When the next tier is asked; undefined after the last and after the verdict. */
  readonly escalatesAt: number | undefined
  readonly deadlineAt: number | undefined
  /** Held for whoever decides after all: the chain is exhausted. */
  readonly queued: boolean
  /** Which tier was asked last, from 0; -1 while none was. */
  readonly tier: number
  /** Those of the tiers that were asked. */
  readonly seats: readonly (Seat & { readonly tier: number; readonly askedAt: number })[]
  readonly votes: readonly {
    readonly approver: string
    readonly decision: 'approve' | 'deny'
    readonly reason: string | undefined
    readonly votedAt: number
  }[]
  readonly comments: readonly RequestComment[]
  readonly edits: readonly {
    readonly by: string
    readonly at: number
    readonly version: number
    readonly reason: string
    /** What was asked before. */
    readonly before: JsonObject
  }[]
  readonly verdict: Verdict | undefined
  readonly execution:
    | { readonly state: 'idle' }
    | { readonly state: 'running' | 'executed' | 'in-doubt'; readonly since: number }
}

/** What someone wrote about a request. */
export interface RequestComment {
  readonly by: string
  readonly text: string
  readonly at: number
}

/** A request as people may see it. */
export function viewOf(request: RequestRecord): RequestView {
  const { id, tenant, action, status, version, argumentHash, policyVersion, risk, requestedBy, summary, detail } =
    request
  const { context, openedAt, tierEndsAt, deadlineAt, queued, tier, seats, votes, comments, edits, execution } = request
  const named = { id, tenant, action, status, version, argumentHash, policyVersion, risk, requestedBy, summary, detail }
  return {
    ...named,
    excerpt: request.excerpt,
    context,
    openedAt,
    escalatesAt: tierEndsAt,
    deadlineAt,
    queued,
    tier,
    seats,
    votes: votes.map(({ approver, decision, reason, votedAt }) => ({ approver, decision, reason, votedAt })),
    comments: comments.map(({ by, text, at }) => ({ by, text, at })),
    edits,
    verdict: verdictOf(request),
    execution: execution.state === 'idle' ? { state: 'idle' } : { state: execution.state, since: execution.since }
  }
}
