import { SYSTEM_DEADLINE } from '../directory/system-names.ts'
import type { Fact } from '../evidence/fact.ts'
import { type AddressedMessage, about, toAgent } from './message.ts'
import { currentInvitations, type RequestRecord, type RequestStatus } from './request.ts'

/** The changes with which a request ends. */
export interface Settled {
  readonly request: RequestRecord
  readonly messages: readonly AddressedMessage[]
  readonly facts: readonly Fact[]
}

/**
 * Ends a request: nothing falls due any more, everyone who was invited is to hear of the verdict, and the agent too.
 * Invitations that have not gone out are dropped when their turn comes.
 */
export function settle(
  request: RequestRecord,
  end: {
    readonly status: Exclude<RequestStatus, 'pending'>
    readonly by: string
    readonly reason: string | undefined
    readonly fact: Fact
    readonly agent?: 'resume' | 'terminate'
  },
  now: number
): Settled {
  const { id } = request
  const { status, by, reason, fact, agent = 'resume' } = end
  const reached = currentInvitations(request).filter(({ state }) => state === 'delivered')
  return {
    request: {
      ...request,
      status,
      identity: undefined,
      tierEndsAt: undefined,
      remindAt: undefined,
      settleAt: undefined,
      deadlineAt: undefined,
      settlement: { by, at: now, reason }
    },
    messages: [...reached.map((invitation) => about('verdict', id, invitation)), toAgent(agent, id)],
    facts: [fact]
  }
}

/** Whether the deadline has come. Intervals are half-open: at that very millisecond it is too late. */
export function isOverdue({ status, deadlineAt }: RequestRecord, now: number): boolean {
  return status === 'pending' && deadlineAt !== undefined && now >= deadlineAt
}

/**
 * What the deadline does, once it has come: it moves, or the request ends. The new one counts from when the old one was
 * noticed, which may be late when no worker was alive: whoever extends wants people to have that time.
 */
export function timeOut(request: RequestRecord, now: number): Settled {
  const { id, deadlineAt = now, onTimeout, extensions } = request
  const extend = typeof onTimeout === 'string' ? undefined : onTimeout.extend
  if (extend !== undefined && extensions < extend.timesMax) {
    const extended = now + extend.byMs
    const extension = extensions + 1
    const asked = currentInvitations(request).filter(({ state }) => state === 'delivered')
    return {
      request: { ...request, deadlineAt: extended, extensions: extension },
      messages: asked.map((invitation) => about('reminder', id, invitation)),
      facts: [{ type: 'request.extended', extension, deadlineAt: extended }]
    }
  }
  const agent = typeof onTimeout === 'string' ? onTimeout : onTimeout.afterwards
  const fact: Fact = { type: 'request.timed-out', deadlineAt, lateByMs: now - deadlineAt }
  return settle(request, { status: 'timed-out', by: SYSTEM_DEADLINE, reason: undefined, fact, agent }, now)
}
