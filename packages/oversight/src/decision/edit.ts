import type { JsonObject, Verdict } from '@enablement/core'
import { type InvitationRecord, invitationOn } from '../request/invitation-record.ts'
import { about } from '../request/message.ts'
import { currentInvitations, type RequestRecord, verdictOf } from '../request/request.ts'
import type { Step } from '../request/step.ts'
import { type Objection, objection, type Voter } from './cast.ts'
import { caughtUp } from './settling.ts'

/** What became of an edit. */
export type Edited =
  /** Votes for the earlier version are void, and everyone who was asked is asked again. */
  | { readonly outcome: 'edited'; readonly version: number; readonly argumentHash: string }
  /** It asks for this already. */
  | { readonly outcome: 'unchanged' }
  /** Somebody else has edited it since. */
  | { readonly outcome: 'superseded'; readonly argumentHash: string; readonly version: number }
  | { readonly outcome: 'not-authorized'; readonly because: Objection }
  | { readonly outcome: 'already-settled'; readonly verdict: Verdict }
  /** It has been edited as often as a request may be. */
  | { readonly outcome: 'full' }

/** Edits to one request: a discussion, not a chat. */
const EDITS_MAX = 32

/** Invitations of versions before the last that are kept until their channels have marked them, the newest of them. */
const EARLIER_MAX = 256

/** An edit as it is checked: the new detail as the action's schema makes it, its hash, and its excerpt. */
export interface EditCall {
  readonly by: string
  readonly reason: string
  /** Of the version that was edited. */
  readonly from: string
  readonly detail: JsonObject
  readonly excerpt: JsonObject
  readonly argumentHash: string
}

/**
 * Changes what is asked for. Whoever may decide may propose something else; they may then decide on that as anyone else
 * may, and the record shows both. The tier that was asked last has its full time again.
 */
export function edit(
  before: RequestRecord,
  call: EditCall,
  voter: Voter | 'unknown' | undefined,
  now: number
): Step<Edited> {
  const ended = verdictOf(before)
  if (ended !== undefined) return { answer: { outcome: 'already-settled', verdict: ended }, facts: [] }
  const reached = caughtUp(before, now)
  const late = verdictOf(reached.request)
  if (late !== undefined) return { ...reached, answer: { outcome: 'already-settled', verdict: late } }

  const { request } = reached
  const because = objection(request, call.by, voter)
  if (because !== undefined) return { ...reached, answer: { outcome: 'not-authorized', because } }
  const { argumentHash, version } = request
  if (call.from !== argumentHash) return { ...reached, answer: { outcome: 'superseded', argumentHash, version } }
  if (call.argumentHash === argumentHash) return { ...reached, answer: { outcome: 'unchanged' } }
  if (request.edits.length >= EDITS_MAX) return { ...reached, answer: { outcome: 'full' } }

  const { by, reason, detail, excerpt } = call
  const edited = {
    ...request,
    version: version + 1,
    detail,
    excerpt,
    argumentHash: call.argumentHash,
    identity: undefined
  }
  // The channel that stood in for one that could not reach somebody has an invitation of its own.
  const invited = currentInvitations(request).filter(
    ({ state, otherwise }) => state !== 'unreachable' || otherwise.length === 0
  )
  const invitations = invited.flatMap((old) => {
    const next = invitationOn({ ...old, requestId: request.id, version: edited.version }, [
      old.channel,
      ...old.otherwise
    ])
    return next === undefined ? [] : [next]
  })
  const delivered = invited.filter(({ state }) => state === 'delivered')
  const waitMs = request.policy.tiers[request.tier]?.waitMs
  const tierEndsAt = request.tierEndsAt === undefined || waitMs === undefined ? undefined : now + waitMs
  return {
    answer: { outcome: 'edited', version: edited.version, argumentHash: call.argumentHash },
    request: {
      ...edited,
      tierEndsAt,
      settleAt: undefined,
      startedLate: false,
      votes: [],
      invitations: [...toBeMarked(request), ...invitations],
      edits: [...request.edits, { by, at: now, version: edited.version, reason, before: request.detail }]
    },
    messages: [
      ...reached.messages,
      ...delivered.map((old) => about('superseded', request.id, old)),
      ...invitations.map((next) => about('invitation', request.id, next))
    ],
    facts: [
      ...reached.facts,
      {
        type: 'request.edited',
        by,
        reason,
        version: edited.version,
        argumentHash: call.argumentHash,
        voidedVotes: request.votes.length
      }
    ]
  }
}

/**
 * The invitations that ask for what is not asked any more, kept for their receipts until they are marked as superseded: also
 * those that are on their way at this moment, and may yet arrive.
 */
function toBeMarked({ invitations, version }: RequestRecord): readonly InvitationRecord[] {
  const last = invitations.filter((one) => one.version === version && one.state !== 'unreachable')
  const earlier = invitations.filter((one) => one.version < version && one.state === 'delivered')
  return [...earlier.slice(-EARLIER_MAX), ...last]
}
