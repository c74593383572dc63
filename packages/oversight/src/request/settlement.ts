import type { Fact } from '../evidence/fact.ts'
import { cancelled, type Delivery, noticeOf } from './delivery.ts'
import type { Dossier } from './dossier.ts'
import type { RequestRecord, RequestStatus } from './request.ts'

/** The changes with which a request ends. */
interface Settled {
  readonly request: RequestRecord
  readonly newDeliveries: readonly Delivery[]
  readonly changedDeliveries: readonly Delivery[]
  readonly facts: readonly Fact[]
}

/**
 * Ends a request: nothing falls due any more, invitations that have not gone out are called off, and everyone who was
 * invited is to hear of the verdict.
 */
export function settle(
  { request, deliveries }: Dossier,
  end: {
    readonly status: Exclude<RequestStatus, 'pending'>
    readonly by: string
    readonly reason: string | undefined
    readonly fact: Fact
  },
  now: number
): Settled {
  const { status, by, reason, fact } = end
  const invitations = deliveries.filter(({ kind }) => kind === 'invitation')
  return {
    request: {
      ...request,
      status,
      tierEndsAt: undefined,
      deadlineAt: undefined,
      settlement: { by, at: now, reason }
    },
    newDeliveries: invitations
      .filter(({ state }) => state === 'delivered')
      .map((invitation) => noticeOf(invitation, now)),
    changedDeliveries: invitations.filter(({ state }) => state === 'queued').map(cancelled),
    facts: [fact]
  }
}

/** Whether the deadline has come. Intervals are half-open: at that very millisecond it is too late. */
export function isOverdue({ status, deadlineAt }: RequestRecord, now: number): boolean {
  return status === 'pending' && deadlineAt !== undefined && now >= deadlineAt
}

/** Ends a request at its deadline. */
export function timeOut(dossier: Dossier, now: number): Settled {
  const { deadlineAt = now } = dossier.request
  const fact: Fact = { type: 'request.timed-out', deadlineAt, lateByMs: now - deadlineAt }
  return settle(dossier, { status: 'timed-out', by: 'system:deadline', reason: undefined, fact }, now)
}
