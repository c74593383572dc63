import { bucketAt, bucketHasBackAt } from './bucket-counter.ts'
import type { CounterRule } from './charge.ts'
import { type BucketState, type CounterState, NEVER, type Pin, type RollingState } from './counter.ts'
import { departures, returnedToRolling, rollingAt, rollingPin, takenFromRolling } from './rolling-counter.ts'
import { countsInWindows, freshWindow, windowLasts } from './window-counter.ts'

/** Used and held together. */
export function usedOf(state: CounterState): number {
  return state.kind === 'rolling' ? state.slices.reduce((sum, { used }) => sum + used, 0) : state.used
}

/** The part of what is used that is held. */
export function heldOf(state: CounterState): number {
  if (state.kind === 'rolling') return state.slices.reduce((sum, { held }) => sum + held, 0)
  return state.kind === 'concurrent' ? state.used : state.held
}

/** What the counter is in at `now` under `rule`, as the rules of `CounterState` say; undefined is `elsewhere`. */
export function runningCounter(
  last: CounterState | undefined,
  rule: CounterRule,
  now: number
): CounterState | undefined {
  if (last === undefined) return fresh(rule, now, now)
  const startsAt = 'startsAt' in last ? Math.max(now, last.startsAt + 1) : now
  if (last.kind === 'concurrent') return rule.kind === 'concurrent' ? last : fresh(rule, now, startsAt)
  if (rule.kind === 'concurrent') return fresh(rule, now, startsAt)
  if (last.kind === 'window') return windowLasts(last, rule, now) ? last : fresh(rule, now, startsAt)
  if (last.kind === 'bucket' && rule.kind === 'bucket') {
    const filled = bucketAt(last, now)
    const { refill, perMs } = rule
    return refill === last.refill && perMs === last.perMs ? filled : { ...filled, refill, perMs, remainder: 0 }
  }
  const kept = last.kind === 'rolling' ? rollingAt(last, now) : bucketAt(last, now)
  if (kept.kind === 'rolling' && rule.kind === 'rolling' && rule.rollingMs === kept.rollingMs) return kept
  if (usedOf(kept) === 0) return fresh(rule, now, startsAt)
  return { kind: 'window', startsAt, endsAt: carriedUntil(kept), used: usedOf(kept), held: 0 }
}

/** When an ended rule would have given back the last of what is used, had what is held been spent. */
function carriedUntil(state: RollingState | BucketState): number {
  if (state.kind === 'rolling') return departures(state).at(-1) as number
  return bucketHasBackAt({ ...state, held: 0 }, state.used) ?? NEVER - 1
}

function fresh(rule: CounterRule, now: number, startsAt: number): CounterState | undefined {
  if (countsInWindows(rule)) return freshWindow(rule, now, startsAt)
  if (rule.kind === 'rolling') return { kind: 'rolling', rollingMs: rule.rollingMs, slices: [] }
  if (rule.kind === 'concurrent') return { kind: 'concurrent', startsAt, used: 0 }
  const { refill, perMs } = rule
  return { kind: 'bucket', startsAt, refill, perMs, at: now, remainder: 0, used: 0, held: 0 }
}

/** With `amount` taken from a counter that is running at `now`, to be held or spent for good. */
export function taken(state: CounterState, amount: number, as: 'held' | 'spent', now: number): CounterState {
  const held = as === 'held' ? amount : 0
  if (state.kind === 'rolling') return takenFromRolling(state, amount, held, now)
  if (state.kind === 'concurrent') return { ...state, used: state.used + held }
  return { ...state, used: state.used + amount, held: state.held + held }
}

/** What a hold that takes from the counter at `now` is pinned to. */
export function pinOf(state: CounterState, now: number): Pin {
  if (state.kind === 'rolling') return rollingPin(state, now)
  return { startsAt: state.startsAt, endsAt: state.kind === 'window' ? state.endsAt : NEVER }
}

/** Whether the counter is still in what a hold was taken from. */
export function isPinned(state: CounterState, pin: Pin): boolean {
  if (state.kind === 'rolling') {
    return state.slices.some(({ startsAt, endsAt }) => startsAt === pin.startsAt && endsAt === pin.endsAt)
  }
  return state.startsAt === pin.startsAt && (state.kind === 'window' ? state.endsAt : NEVER) === pin.endsAt
}

/**
 * With `used` units given back and `held` units held no longer, where the pin still is. Of units in use at the same time
 * all that were held come back.
 */
export function returned(state: CounterState, pin: Pin, used: number, held: number, now: number): CounterState {
  if (!isPinned(state, pin)) return state
  if (state.kind === 'rolling') return returnedToRolling(state, pin, used, held)
  if (state.kind === 'concurrent') return { ...state, used: state.used - held }
  const kept = state.kind === 'bucket' ? bucketAt(state, now) : state
  return { ...kept, used: kept.used - used, held: kept.held - held }
}

/** When the counter has its full quantity again if nobody else spends, epoch milliseconds; null when waiting does not do it. */
export function fullAt(state: CounterState, now: number): number | null {
  if (state.kind === 'window') return state.endsAt === NEVER ? null : state.endsAt
  if (state.kind === 'rolling') return departures(state).at(-1) ?? now
  if (state.kind === 'concurrent') return null
  return state.used === state.held ? now : bucketHasBackAt(state, state.used - state.held)
}
