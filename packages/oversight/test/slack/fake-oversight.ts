import type { Verdict } from '@enablement/core'
import { OversightError } from '@enablement/oversight'
import type { SlackInteractivityOptions } from '@enablement/oversight/slack'
import { invitationOf } from './slack-bench.ts'

type Calls = SlackInteractivityOptions['oversight']
type View = Awaited<ReturnType<Calls['inspect']>>
type Answer = Awaited<ReturnType<Calls['decide']>>
type Ballot = Parameters<Calls['decide']>[1]

interface Held {
  view: View
  readonly votes: Map<string, Ballot>
  readonly approvals: number
}

/**
 * Oversight by its contract alone: who was asked may vote once on the version that they saw, a denial or enough approvals
 * decide, and the same key gets the same answer. It notes every ballot that it is given.
 */
export function fakeOversight(now: () => number) {
  const held = new Map<string, Held>()
  const ballots: (Ballot & { readonly requestId: string })[] = []
  const find = (requestId: string): Held => {
    const found = held.get(requestId)
    if (found !== undefined) return found
    throw new OversightError('UNKNOWN_REQUEST', 'the store holds no such request', { requestId })
  }
  const settle = (one: Held, verdict: Verdict): void => {
    one.view = { ...one.view, verdict }
  }
  const oversight = {
    ballots,
    /** What every call does first. */
    gate: async (): Promise<void> => {},
    open({
      asked = ['ana', 'bo'],
      approvals = 1,
      ...more
    }: {
      asked?: string[]
      approvals?: number
      risk?: View['risk']
      excerpt?: View['excerpt']
    } = {}) {
      const invitation = invitationOf(more)
      const { requestId: id, tenant, action, summary, excerpt, risk, requestedBy } = invitation
      const { context, argumentHash, version } = invitation
      const shown = { tenant, action, summary, excerpt, risk, requestedBy, context, argumentHash, version }
      const seats = asked.map((approver) => ({
        approver,
        principal: approver,
        roles: [],
        authority: 0,
        via: { kind: 'named' as const },
        askedAt: 0,
        tier: 0
      }))
      const view: View = {
        id,
        ...shown,
        seats,
        status: 'pending',
        policyVersion: '1',
        detail: { secret: 'not for messages' },
        openedAt: now(),
        escalatesAt: undefined,
        deadlineAt: invitation.deadlineAt,
        queued: false,
        tier: 0,
        votes: [],
        comments: [],
        edits: [],
        verdict: undefined,
        execution: { state: 'idle' }
      }
      held.set(id, { view, votes: new Map(), approvals })
      return invitation
    },
    edit(requestId: string) {
      const one = find(requestId)
      one.view = {
        ...one.view,
        version: one.view.version + 1,
        argumentHash: 'b'.repeat(64),
        summary: 'Refund 9.00',
        excerpt: { cents: 900 }
      }
      one.votes.clear()
    },
    timeOut(requestId: string) {
      settle(find(requestId), { outcome: 'timed-out', requestId, decidedAt: now() })
    },
    forget: (requestId: string) => held.delete(requestId),
    async inspect(requestId: string): Promise<View> {
      await oversight.gate()
      return find(requestId).view
    },
    async decide(requestId: string, ballot: Ballot): Promise<Answer> {
      await oversight.gate()
      ballots.push({ ...ballot, requestId })
      const one = find(requestId)
      const { verdict, argumentHash, version, seats, requestedBy } = one.view
      const { approver, decision } = ballot
      const earlier = one.votes.get(approver)
      if (earlier !== undefined) {
        if (earlier.idempotencyKey === ballot.idempotencyKey) return { outcome: 'recorded', verdict }
        return { outcome: 'already-decided', decision: earlier.decision, verdict }
      }
      if (approver === requestedBy.onBehalfOf) return { outcome: 'not-authorized', because: 'separation-of-duties' }
      if (!seats.some((seat) => seat.approver === approver)) return { outcome: 'not-authorized', because: 'not-asked' }
      if (verdict !== undefined) return { outcome: 'too-late', verdict }
      if (ballot.argumentHash !== argumentHash) return { outcome: 'superseded', argumentHash, version }
      one.votes.set(approver, ballot)
      const by = { requestId, by: approver, decidedAt: now() }
      if (decision === 'deny') settle(one, { outcome: 'denied', ...by, reason: ballot.reason })
      else if (one.votes.size >= one.approvals) settle(one, { outcome: 'approved', ...by })
      return { outcome: 'recorded', verdict: one.view.verdict }
    }
  }
  return oversight
}
