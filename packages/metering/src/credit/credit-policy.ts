import type { BurnOrder } from './burn-order.ts'
import type { ExpiredReversal } from './giving-back.ts'

/** What the steps of the engine go by. Amounts are integers of the smallest unit. */
export interface CreditPolicy {
  readonly burnOrder: BurnOrder
  /** How much a charge may let a wallet owe. */
  readonly overdraftMax: number
  readonly onOverrun: 'owe' | 'waive'
  readonly expiredReversal: ExpiredReversal
}
