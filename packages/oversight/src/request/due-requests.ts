import type { Random } from '@enablement/core'
import type { DutyRun } from '@enablement/core/schedule'
import type { OversightEvent } from '../evidence/event.ts'
import type { OversightStore } from '../oversight-store.ts'
import type { Transitions } from './transitions.ts'

/** What a duty needs to take on requests that are due. */
export interface DueRequests {
  readonly store: OversightStore
  readonly transitions: Transitions
  readonly random: Random
  readonly emit: (event: OversightEvent) => void
}

/** Requests that one run looks at: it ends, and hears of a closing worker, after these. */
const BATCH = 64

/** Requests that may fail before a run gives up looking behind them: far more than a store that is whole ever holds. */
const FAILED_MAX = 16 * BATCH

/** Units under way at the same time: enough for SQLite to commit together, few enough for a small Postgres pool. */
const CONCURRENCY = 16

/**
 * Offers each request that is due to `take`, which says whether it did anything. A request that fails is reported and
 * left out of this run, so that a damaged row holds up nobody else; when all of them fail the run fails, and the
 * worker backs off.
 */
export async function eachDue(
  { store, transitions, random, emit }: DueRequests,
  kind: 'escalation' | 'execution',
  signal: AbortSignal,
  take: (requestId: string, transitions: Transitions) => Promise<boolean>
): Promise<DutyRun> {
  const failed: string[] = []
  let handled = 0
  let failure: unknown
  let candidates: string[]
  do {
    signal.throwIfAborted()
    candidates = shuffled(await store.due(kind, { limit: BATCH, skip: failed }), random)
    const queue = candidates.values()
    const takeOneByOne = async (): Promise<void> => {
      for (const requestId of queue) {
        if (signal.aborted) return
        try {
          if (await take(requestId, transitions)) handled += 1
        } catch (error) {
          failure = error
          failed.push(requestId)
          emit({ type: 'duty.failed', duty: `oversight.${kind}`, requestId, error })
        }
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, takeOneByOne))
    // A full batch in which nothing was done may hide others behind it: look once more, without those that failed.
  } while (handled === 0 && candidates.length === BATCH && failed.length > 0 && failed.length < FAILED_MAX)
  if (handled === 0 && failure !== undefined) throw failure as Error
  return { handled }
}

/** In an order of its own for each worker, so that those who work at the same time do not queue on the same locks. */
function shuffled(ids: readonly string[], random: Random): string[] {
  const order = [...ids]
  for (let last = order.length - 1; last > 0; last--) {
    const at = random.below(last + 1)
    const moved = order[last] as string
    order[last] = order[at] as string
    order[at] = moved
  }
  return order
}
