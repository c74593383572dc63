import type { Duty, DutyRun } from '@enablement/core/schedule'
import type { OversightEvent } from '../oversight-event.ts'
import type { OversightStore } from '../oversight-store.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Transitions } from '../transition/transitions.ts'
import type { WorkHints } from '../transition/work-hints.ts'
import { escalate } from './escalation.ts'
import type { Seated, Seater } from './seater.ts'

/** Requests that one unit takes on: long enough to be fast, short enough that votes on them need not wait for long. */
const BATCH = 512

/** Directory questions under way at the same time. */
const DIRECTORY_CONCURRENCY = 16

/** Requests that may fail before a run gives up looking behind them: far more than a store that is whole ever holds. */
const FAILED_MAX = 1_024

const NAME = 'oversight.escalation'

interface EscalationDutyOptions {
  readonly store: OversightStore
  readonly transitions: Transitions
  readonly hints: WorkHints
  readonly seater: Seater
  readonly autoApproval: () => boolean
  readonly emit: (event: OversightEvent) => void
}

/**
 * Takes on every request whose tier has had its time, whose votes are to settle, or whose deadline has come. The claim, the
 * next tier, its invitations and the evidence are one unit under the request's lock, so there is no lease that a dying
 * worker could leave behind, and no step is taken twice however many workers run. Where a directory has to be asked who
 * sits in a tier, that happens between two looks at the request, and the second one decides.
 */
export function escalationDuty({ store, transitions, seater, hints, autoApproval, emit }: EscalationDutyOptions): Duty {
  /** Who sits in what is asked next: the tier that has yet to be seated, and the one after it if that cannot be. */
  const seated = async (request: RequestRecord, signal: AbortSignal): Promise<Seated> => {
    const { tier, unseated } = request
    if (!unseated) return seater.from(request, tier + 1, signal)
    const current = await seater.from(request, tier, signal)
    if (current.seatings(tier)?.outcome === 'seated') return current
    const next = await seater.from(request, tier + 1, signal)
    return { ...next, seatings: (at) => (at === tier ? current : next).seatings(at) }
  }

  const takeWithDirectory = async (request: RequestRecord, signal: AbortSignal): Promise<boolean> => {
    const rules = { ...(await seated(request, signal)), autoApproval: autoApproval() }
    const { outcome } = await transitions.apply(request.id, (held, now) => escalate(held, rules, now))
    return outcome !== 'not-due' && outcome !== 'needs-seats'
  }

  return {
    name: NAME,
    async run({ signal }): Promise<DutyRun> {
      const failed: string[] = []
      let handled = 0
      for (;;) {
        signal.throwIfAborted()
        const waiting: RequestRecord[] = []
        const taken = await transitions.applyDue('escalation', { limit: BATCH, skip: failed }, (request, now) => {
          const rules = { seatings: (tier: number) => seater.known(request, tier), autoApproval: autoApproval() }
          const step = escalate(request, rules, now)
          return { ...step, answer: { ...step.answer, request } }
        })
        let done = 0
        for (const one of taken) {
          if (one.outcome === 'failed') {
            failed.push(one.requestId)
          } else if (one.answer.outcome === 'needs-seats') {
            waiting.push(one.answer.request)
          } else if (one.answer.outcome !== 'not-due') {
            done += 1
          }
        }
        const queue = waiting.values()
        const takeOneByOne = async (): Promise<void> => {
          for (const request of queue) {
            if (signal.aborted) return
            try {
              if (await takeWithDirectory(request, signal)) done += 1
            } catch (error) {
              if (signal.aborted) return
              failed.push(request.id)
              emit({ type: 'duty.failed', duty: NAME, requestId: request.id, error })
            }
          }
        }
        await Promise.all(Array.from({ length: DIRECTORY_CONCURRENCY }, takeOneByOne))
        handled += done
        // A full batch in which nothing was done may hide others behind it: look once more, without those that failed.
        if (taken.length < BATCH || (done === 0 && (failed.length === 0 || failed.length > FAILED_MAX))) break
      }
      const nextDueInMs = await store.nextDueInMs('escalation')
      // Those that failed are due still: they are looked at again at the next poll, and keep nobody else waiting.
      const next = failed.length > 0 && nextDueInMs === 0 ? undefined : nextDueInMs
      hints.foundNext('escalation', next)
      return { handled, nextDueInMs: next }
    }
  }
}
