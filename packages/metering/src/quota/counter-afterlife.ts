import { bucketHasBackAt } from './bucket-counter.ts'
import { type CounterState, NEVER } from './counter.ts'
import { departures } from './rolling-counter.ts'

/**
 * How long a counter that is as good as new is kept, in milliseconds: a store's clock that is set back by less than that
 * finds it and does not start anew.
 */
const AFTERLIFE_MS = 86_400_000

/** From when on a counter says nothing that no counter would not say, epoch milliseconds; `NEVER` while waiting does not do it. */
export function forgetCounterAt(state: CounterState): number {
  const asNewAt = endOfCounter(state)
  return asNewAt >= NEVER - AFTERLIFE_MS ? NEVER : asNewAt + AFTERLIFE_MS
}

function endOfCounter(state: CounterState): number {
  if (state.kind === 'window') return state.endsAt
  if (state.kind === 'rolling') return departures(state).at(-1) ?? 0
  if (state.kind === 'concurrent') return state.used === 0 ? state.startsAt : NEVER
  // What is held does not come back by waiting.
  return bucketHasBackAt(state, state.used) ?? NEVER
}
