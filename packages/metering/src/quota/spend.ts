import { joined, keyText } from './counter-key.ts'
import { fullAt } from './counter-step.ts'
import { type Draw, drawsOn, enoughAt, take } from './draw.ts'
import type { Refusal, SpendAnswer, SpendGroup } from './quota-store.ts'
import type { WorkingSet } from './working-set.ts'

/** What a store keeps of a spend, by scope and idempotency key: the amount and its answer. */
export interface RememberedSpend {
  readonly amount: number
  readonly remaining: number
  readonly resetsAt: number | null
  /** Epoch milliseconds, exclusive: from here on the key is free again. */
  readonly expiresAt: number
}

/** The key of the record of each spend that has an idempotency key. */
export function spendKeys({ scope, keys = [] }: SpendGroup): string[] {
  const inScope = keyText(scope)
  return keys.flatMap((key) => (key === undefined ? [] : joined(inScope, keyText(key))))
}

/** Decides each spend in its order, as `QuotaStore.consume` says. Expired holds have been ended before. */
export function decideSpends(set: WorkingSet, groups: readonly SpendGroup[]): SpendAnswer[][] {
  return groups.map((group) => decideGroup(set, group))
}

function decideGroup(set: WorkingSet, { scope, charges, amounts, keys, idempotencyMs }: SpendGroup): SpendAnswer[] {
  const { now } = set
  const inScope = keyText(scope)
  // Units in use at the same time are not used up, so spends pass their counters by.
  const draws = drawsOn(set, charges)?.filter(({ keyed }) => keyed.charge.rule.kind !== 'concurrent')
  return amounts.map((amount, at): SpendAnswer => {
    const key = keys?.[at]
    const record = key === undefined ? undefined : joined(inScope, keyText(key))
    const earlier = record === undefined ? undefined : set.spend(record)
    if (earlier !== undefined && now < earlier.expiresAt) {
      if (earlier.amount !== amount) return { outcome: 'conflict', firstAmount: earlier.amount }
      const { remaining, resetsAt } = earlier
      return { outcome: 'consumed', remaining, resetsAt, replayed: true }
    }
    if (draws === undefined) return { outcome: 'elsewhere', now }
    const refusal = refusalOf(set, draws, amount)
    if (refusal !== undefined) return refusal
    for (const draw of draws) take(set, draw, amount, 'spent')
    const least = draws.reduce((tightest, draw) => (draw.left < tightest.left ? draw : tightest))
    const answer = { remaining: least.left, resetsAt: fullAt(least.state, now) }
    if (record !== undefined) set.spends.set(record, { amount, ...answer, expiresAt: now + idempotencyMs })
    return { outcome: 'consumed', ...answer, replayed: false }
  })
}

/** Why the counters do not have `amount` for the call; undefined when they have. */
export function refusalOf(set: WorkingSet, draws: readonly Draw[], amount: number): Refusal | undefined {
  const short = draws.filter(({ left }) => left < amount)
  const [first] = short
  if (first === undefined) return undefined
  let retryAt: number | null = 0
  for (const draw of short) {
    const enough = enoughAt(set, draw, amount)
    retryAt = enough === null || retryAt === null ? null : Math.max(retryAt, enough)
  }
  return { outcome: 'refused', charge: first.index, remaining: first.left, retryAt }
}
