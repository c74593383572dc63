import type { Charge } from './charge.ts'
import { fullAt, heldOf, usedOf } from './counter-step.ts'
import { drawsOn } from './draw.ts'
import type { CounterReading, Elsewhere } from './quota-store.ts'
import type { WorkingSet } from './working-set.ts'

/** Answers `QuotaStore.read`. Expired holds have been ended before. */
export function readCounters(set: WorkingSet, charges: readonly Charge[]): readonly CounterReading[] | Elsewhere {
  const { now } = set
  const draws = drawsOn(set, charges)
  if (draws === undefined) return { outcome: 'elsewhere', now }
  return draws.map(({ keyed: { charge }, state, left }): CounterReading => {
    const { limit, path, quantity } = charge
    return {
      limit,
      path,
      quantity,
      used: usedOf(state),
      held: heldOf(state),
      remaining: left,
      resetsAt: fullAt(state, now)
    }
  })
}
