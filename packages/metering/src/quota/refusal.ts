import type { Charge } from './charge.ts'
import type { Refused } from './quota-outcome.ts'
import type { Refusal } from './quota-store.ts'

/** A store's refusal in the terms of those who asked: which level, not which place in the list. */
export function refusedOf(
  { charge, remaining, retryAt }: Refusal,
  charges: readonly Charge[],
  requested: number
): Refused {
  const { limit, path } = charges[charge] as Charge
  return { outcome: 'refused', level: { limit, path }, requested, remaining, retryAt }
}
