import type { Plan } from './plan.ts'
import type { PlanChange, PlanChangeStrategy, PlanTermination } from './plan-change.ts'

/** What to change. */
export interface ChangeRequest {
  readonly tenant: string
  readonly subscription: string
  readonly to: Plan
  readonly strategy: PlanChangeStrategy
  /** What is left of the old plan's credits: see `planChange`. */
  readonly unusedCredits?: number
}

/** Why a subscription is not changed as it was asked. Nothing changed. */
export type ChangeRefusal =
  /** A change is being paid. */
  | { readonly outcome: 'busy' }
  /** The subscription is over. */
  | { readonly outcome: 'ended'; readonly endedAt: number }
  | { readonly outcome: 'unknown-subscription' }

/** What became of a change. Of the same key it is the same answer. */
export type ChangeOutcome =
  /** The new plan is in force; what it costs was paid, or is on the next invoice. */
  | { readonly outcome: 'changed'; readonly change: PlanChange }
  /** It takes effect at the end of the period, in place of an earlier one that waited. */
  | { readonly outcome: 'scheduled'; readonly change: PlanChange }
  /** It was not paid, and nothing changed. */
  | { readonly outcome: 'declined'; readonly reason: string }
  /** Whether it was paid is not known. Nothing changed yet; the same key, or the duty, finds out. */
  | { readonly outcome: 'payment-unknown'; readonly error: unknown }
  /** The subscription was cancelled, and ends then: withdraw that first. */
  | { readonly outcome: 'ending'; readonly endsAt: number }
  /** The key was used for another request. */
  | { readonly outcome: 'conflict' }
  /** The subscription kept changing meanwhile. Nothing changed; try again. */
  | { readonly outcome: 'contended' }
  | ChangeRefusal

/** What a change would be. */
export type PreviewOutcome =
  | { readonly outcome: 'previewed'; readonly change: PlanChange }
  | { readonly outcome: 'ending'; readonly endsAt: number }
  | ChangeRefusal

/** What to end, and when. */
export interface CancelRequest {
  readonly tenant: string
  readonly subscription: string
  /** `now` refunds the unused part of what was charged; `period-end` refunds nothing. */
  readonly when: 'now' | 'period-end'
  /** What is left of the plan's credits, which bounds the refund: see `planTermination`. Only `now`. */
  readonly unusedCredits?: number
}

/** What became of a cancellation. Of the same key it is the same answer. */
export type CancelOutcome =
  /** It is over; the refund is on its next invoice. What waited for the end of the period will not happen. */
  | { readonly outcome: 'cancelled'; readonly endedAt: number; readonly termination: PlanTermination }
  /** It ends with the period, unless that is withdrawn, in place of a change that waited. */
  | { readonly outcome: 'scheduled'; readonly endsAt: number }
  | { readonly outcome: 'conflict' | 'contended' }
  | ChangeRefusal

/** What became of a withdrawal. */
export type WithdrawOutcome =
  | { readonly outcome: 'withdrawn' }
  /** Nothing waits. */
  | { readonly outcome: 'none' }
  | { readonly outcome: 'contended' }
  | ChangeRefusal
