import type { Duty } from '@enablement/core/schedule'
import { type DueRequests, eachDue } from '../request/due-requests.ts'
import { expire } from './execution.ts'

/** Declares executions in doubt whose executors let their leases run out, so that the record says so by itself. */
export function executionDuty(requests: DueRequests): Duty {
  return {
    name: 'oversight.execution',
    run: ({ signal }) =>
      eachDue(requests, 'execution', signal, async (requestId, { apply }) => {
        const outcome = await apply(requestId, expire)
        return outcome !== 'not-due'
      })
  }
}
