import type { AuditDraft } from '@enablement/core/audit'
import type { CalendarPeriod } from '../calendar/calendar.ts'
import type { PendingAdjustment } from './invoice-store.ts'
import type { Plan } from './plan.ts'

/** What waits for the end of the period: another plan, or the end of the subscription. */
export type PendingStep =
  | { readonly kind: 'change'; readonly plan: Plan; readonly idempotencyKey: string }
  | { readonly kind: 'end'; readonly idempotencyKey: string }

/** Where a subscription stands. */
export interface SubscriptionRecord {
  readonly tenant: string
  readonly subscription: string
  /** Counts its changes, from 1. */
  readonly revision: number
  readonly plan: Plan
  /** The plan's current period, and since when the plan has been in force in it: epoch milliseconds. */
  readonly period: CalendarPeriod
  readonly since: number
  /** What was charged for the plan in the period, before tax, in the minor unit. No refund is larger. */
  readonly charged: number
  readonly pending?: PendingStep
  /** The key of the change whose payment is under way: until it is decided there is no other. */
  readonly paying?: string
  /** When it ended: epoch milliseconds. It is charged nothing after that, and never falls due. */
  readonly endedAt?: number
}

/** A change as it was asked for and decided, under its idempotency key. */
export interface PlanChangeRecord {
  readonly tenant: string
  readonly subscription: string
  readonly idempotencyKey: string
  /** Of what was asked for: another request under the same key is a conflict. */
  readonly fingerprint: string
  readonly status: 'paying' | 'done'
  /** What was decided, as JSON in the terms of who wrote it. */
  readonly decisionJson: string
}

/** One step of a subscription. */
export interface SubscriptionWrite {
  /** As it is to be; its revision is that of the record it replaces and one more, 1 for a new one. */
  readonly subscription: SubscriptionRecord
  /** Its change, written or replaced. */
  readonly change?: PlanChangeRecord
  /** Put for the next invoice, with what goes for `InvoiceStore.adjust`. */
  readonly adjustments: readonly PendingAdjustment[]
  readonly evidence: readonly AuditDraft[]
}

/** Subscriptions whose period is over, given to one caller, and the store's own time. */
export interface ClaimedSubscriptions {
  readonly subscriptions: readonly SubscriptionRecord[]
  /** Epoch milliseconds, by the clock that decided. */
  readonly now: number
  /** How long until the next one falls due; undefined when there is none. */
  readonly nextDueInMs: number | undefined
}

/** Subscriptions and their changes, in one store with the adjustments that they cause. */
export interface SubscriptionStore {
  findSubscription(tenant: string, subscription: string): Promise<SubscriptionRecord | undefined>
  findChange(tenant: string, subscription: string, idempotencyKey: string): Promise<PlanChangeRecord | undefined>
  /**
   * Commits a step with all that belongs to it, or, where the record has another revision by now, none of it. From an
   * `endedAt` on, invoices of the subscription are asked for no more than what is still owed.
   */
  commitSubscription(write: SubscriptionWrite): Promise<{ readonly outcome: 'committed' | 'stale' }>
  /**
   * Claims subscriptions whose period is over by the store's clock, and those under payment for a minute. Each is due
   * again `leaseMs` from now, unless a step is committed before: two workers do not ask for the same payment.
   */
  claimSubscriptions(options: { readonly limit: number; readonly leaseMs: number }): Promise<ClaimedSubscriptions>
}

/** A payment that nobody has heard of for so long is asked for again, by any worker. */
export const PAYMENT_RETRY_MS = 60_000
