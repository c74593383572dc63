import { isSuiteError } from '@enablement/core'
import type { OversightCalls, VoteAnswer } from '../oversight-calls.ts'
import type { RequestView } from '../request/request-view.ts'
import type { InboxVisitor } from './visitor.ts'

/** A vote as a form brings it. */
export interface FormVote {
  readonly decision: 'approve' | 'deny'
  /** Empty for none. */
  readonly reason: string
  /** Of what the form showed. */
  readonly argumentHash: string
  /** Of the form: the same form sent again is the same vote. */
  readonly nonce: string
}

/**
 * Casts it. The form showed the request in full, which goes on record before the vote does; not for another version than
 * the one that is asked now, of which the vote will be told.
 */
export async function castVote(
  oversight: OversightCalls,
  visitor: InboxVisitor,
  view: RequestView,
  { decision, reason, argumentHash, nonce }: FormVote
): Promise<VoteAnswer> {
  const { approver } = visitor
  await oversight.viewed(view.id, { by: approver, argumentHash })
  // With the decision in the key: who goes back to the form and changes their mind has not sent the same form again.
  const ballot = { approver, argumentHash, idempotencyKey: `inbox:${nonce}:${decision}` }
  return decision === 'approve'
    ? await oversight.decide(view.id, { ...ballot, decision, ...(reason === '' ? {} : { reason }) })
    : await oversight.decide(view.id, { ...ballot, decision, reason })
}

/** The request, if there is one and this person may see it; anything else is as if there were none. */
export async function findRequest(
  oversight: OversightCalls,
  requestId: string,
  maySee: (view: RequestView) => boolean
): Promise<RequestView | undefined> {
  try {
    const view = await oversight.inspect(requestId)
    return maySee(view) ? view : undefined
  } catch (error) {
    if (isSuiteError(error, 'UNKNOWN_REQUEST')) return undefined
    throw error
  }
}
