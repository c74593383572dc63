import type { Duty } from '@enablement/core/schedule'
import { type DueRequests, eachDue } from '../request/due-requests.ts'
import { escalate } from './escalation.ts'

/**
 * Takes on every request whose tier has had its time, or whose deadline has come. The claim, the next tier, its
 * invitations and the evidence are one unit under the request's lock, so there is no lease that a dying worker could
 * leave behind, and no step is taken twice however many workers run.
 */
export function escalationDuty(requests: DueRequests): Duty {
  return {
    name: 'oversight.escalation',
    run: ({ signal }) =>
      eachDue(requests, 'escalation', signal, async (requestId, { apply }) => {
        const { outcome } = await apply(requestId, escalate)
        return outcome !== 'not-due'
      })
  }
}
