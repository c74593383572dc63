import { checkAmount } from './amount.ts'
import { NEVER, type PeriodWindow, runningWindow } from './period.ts'
import type { QuotaAnswer, QuotaSpend } from './quota-store.ts'

/** What a store keeps for tenant, limit and subject: what was used, in the window that it was last used in. */
export interface QuotaCounter extends PeriodWindow {
  readonly used: number
}

/** What a store keeps for an idempotency key: the spend and its answer. */
export interface RememberedSpend {
  readonly amount: number
  readonly remaining: number
  readonly resetsAt: number | null
  /** Epoch milliseconds, exclusive: from here on the key is free again. */
  readonly expiresAt: number
}

/** An answer, and what to write before giving it. */
export interface SpendStep {
  readonly answer: QuotaAnswer
  readonly write?: { readonly counter: QuotaCounter; readonly remembered: RememberedSpend }
}

/**
 * The decision on one spend, as a step from state to state: the memory and SQL stores run it between their reads and
 * their writes, and `consume.lua` is the same in Lua. `now` is the store's clock. Throws
 * `INVALID_AMOUNT`, although callers have checked: a store may be called by anyone.
 */
export function decideSpend(
  spend: QuotaSpend,
  now: number,
  counter: QuotaCounter | undefined,
  remembered: RememberedSpend | undefined
): SpendStep {
  const { amount, quantity, period, idempotencyMs } = spend
  checkAmount(amount)
  if (remembered !== undefined && now < remembered.expiresAt) {
    if (remembered.amount !== amount) {
      return { answer: { outcome: 'conflict', firstAmount: remembered.amount } }
    }
    const { remaining, resetsAt } = remembered
    return { answer: { outcome: 'consumed', remaining, resetsAt, replayed: true } }
  }
  const { startsAt, endsAt } = runningWindow(counter, period, now)
  const used = counter !== undefined && counter.startsAt === startsAt && counter.endsAt === endsAt ? counter.used : 0
  const resetsAt = endsAt === NEVER ? null : endsAt
  // A difference rather than a sum: both stay within 9e15, where doubles are exact. Below 0 when the limit was lowered.
  const left = quantity - used
  if (amount > left) return { answer: { outcome: 'refused', remaining: Math.max(0, left), resetsAt } }
  const remaining = left - amount
  return {
    answer: { outcome: 'consumed', remaining, resetsAt, replayed: false },
    write: {
      counter: { startsAt, endsAt, used: used + amount },
      remembered: { amount, remaining, resetsAt, expiresAt: now + idempotencyMs }
    }
  }
}
