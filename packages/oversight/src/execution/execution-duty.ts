import type { Duty, DutyRun } from '@enablement/core/schedule'
import type { OversightStore } from '../oversight-store.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Transitions } from '../transition/transitions.ts'
import type { WorkHints } from '../transition/work-hints.ts'
import { attend } from './execution.ts'

/** Executions that one unit takes on. */
const BATCH = 64

/** Requests that may fail before a run gives up looking behind them: far more than a store that is whole ever holds. */
const FAILED_MAX = 1_024

/**
 * Declares executions in doubt whose executors let their leases run out, so that the record says so by itself, and asks
 * the targets of those in doubt what happened. A question that is under way is not asked again for a minute at least.
 */
export function executionDuty(options: {
  readonly store: OversightStore
  readonly transitions: Transitions
  readonly hints: WorkHints
  readonly canReconcile: (action: string) => boolean
  readonly reconcile: (request: RequestRecord) => Promise<boolean>
}): Duty {
  const { store, transitions, hints, canReconcile, reconcile } = options
  return {
    name: 'oversight.execution',
    async run({ signal }): Promise<DutyRun> {
      const asked: Promise<boolean>[] = []
      const failed: string[] = []
      let handled = 0
      for (let more = true; more; ) {
        signal.throwIfAborted()
        const taken = await transitions.applyDue('execution', { limit: BATCH, skip: failed }, (request, now) =>
          attend(request, canReconcile, now)
        )
        const failedBefore = failed.length
        for (const one of taken) {
          if (one.outcome === 'failed') {
            failed.push(one.requestId)
            continue
          }
          if (one.answer.outcome === 'not-due') continue
          handled += 1
          if (one.answer.outcome === 'reconcile') asked.push(reconcile(one.answer.request))
        }
        // Those that failed may hide others behind them: look once more, without them.
        more = taken.length === BATCH && failed.length > failedBefore && failed.length <= FAILED_MAX
      }
      await Promise.all(asked)
      const nextDueInMs = await store.nextDueInMs('execution')
      // Those that failed are due still: they are looked at again at the next poll, and keep nobody else waiting.
      const next = failed.length > 0 && nextDueInMs === 0 ? undefined : nextDueInMs
      hints.foundNext('execution', next)
      return { handled, nextDueInMs: next }
    }
  }
}
