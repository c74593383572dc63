import type { Period } from './period.ts'

/** An attempt to consume. */
export interface QuotaSpend {
  readonly tenant: string
  /** The limit's name. Tenant, limit and subject name one counter. */
  readonly limit: string
  /** Whose counter it is within the tenant; absent for the tenant's own. */
  readonly subject?: string
  /** The limit's quantity and period as they are now: the store keeps what was used, not the rule. */
  readonly quantity: number
  readonly period: Period
  /** An integer in [1, 9e15]. */
  readonly amount: number
  readonly idempotencyKey: string
  /** How long a spend is remembered under its key, in milliseconds from the spend. */
  readonly idempotencyMs: number
}

/** What a store answers. Instants are by its own clock, in epoch milliseconds. */
export type QuotaAnswer =
  /** The amount was spent: now, or by the first call with this key, whose answer this is (`replayed`). */
  | {
      readonly outcome: 'consumed'
      readonly remaining: number
      /** When the window ends and the quantity is there again; null when it never does. */
      readonly resetsAt: number | null
      readonly replayed: boolean
    }
  /** Less than the amount remains. Nothing was changed, and nothing is remembered under the key. */
  | { readonly outcome: 'refused'; readonly remaining: number; readonly resetsAt: number | null }
  /** The key was used for a spend of another amount. Nothing was changed. */
  | { readonly outcome: 'conflict'; readonly firstAmount: number }

/** What a quota store can promise. */
export interface QuotaStoreSupports {
  /** What an answered spend survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
  /** Whether processes share its counters. */
  readonly shared: boolean
}

/** Counters that are checked and spent from in one atomic step. */
export interface QuotaStore {
  readonly supports: QuotaStoreSupports
  /**
   * Spends `amount` if that much remains in the running window, and otherwise changes nothing. Never sells more than the
   * quantity in a window, however many call at once. A key whose spend is remembered gets the first answer and spends
   * nothing, in whichever window the first one was.
   *
   * Throws an error of the suite when the store failed. Whether the amount was spent is then not known; the same call
   * again finds out and does not spend twice.
   */
  consume(spend: QuotaSpend, options?: { readonly signal?: AbortSignal }): Promise<QuotaAnswer>
}
