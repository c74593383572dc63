import type { Clock } from '@enablement/core'
import type { Action } from '../action/action.ts'
import { RECONCILE_MS, resultText } from '../action/reconciliation.ts'
import { withinTime } from '../channel/attempt.ts'
import type { OversightEvent } from '../oversight-event.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Transitions } from '../transition/transitions.ts'
import { finish, release } from './execution.ts'

/** The name under which what a target said goes on record. */
const TARGET = 'target'

/**
 * Asks an action's target what became of an execution in doubt, and records the answer, unless somebody else has found out
 * meanwhile. Resolves to whether it is known now; a target that throws, does not answer or cannot tell leaves the doubt, and is told of to those who observe.
 */
export function reconciler(options: {
  readonly actions: ReadonlyMap<string, Action>
  readonly transitions: Transitions
  readonly clock: Clock
  readonly emit: (event: OversightEvent) => void
}): (request: RequestRecord) => Promise<boolean> {
  const { actions, transitions, clock, emit } = options
  return async (request) => {
    const { id: requestId, detail, execution } = request
    const reconcile = actions.get(request.action)?.reconcile
    if (reconcile === undefined || execution.state !== 'in-doubt') return false
    const { fence } = execution
    try {
      const found = await withinTime(clock, RECONCILE_MS, (signal) =>
        reconcile({ requestId, detail, idempotencyKey: requestId, fence, signal })
      )
      switch (found.outcome) {
        case 'executed': {
          const result = resultText(found.result)
          await transitions.apply(requestId, (held, now) => finish(held, { fence, result, reconciledBy: TARGET }, now))
          return true
        }
        case 'not-executed': {
          const reason = 'its target says that it did not happen'
          await transitions.apply(requestId, (held) => release(held, { fence, reason, reconciledBy: TARGET }))
          return true
        }
        case 'unknown':
          return false
      }
    } catch (error) {
      emit({ type: 'reconcile.failed', requestId, error })
      return false
    }
  }
}
