import { keyOf } from './billing-key.ts'
import type { CancelOutcome, CancelRequest, ChangeOutcome, ChangeRequest } from './change-outcome.ts'
import { type PlanChangeRequest, type PlanTerminationRequest, planChange, planTermination } from './plan-change.ts'
import type { PlanChangeRecord } from './subscription-store.ts'

/** What a change record remembers: what the arithmetic was asked, for it gives the same for the same. */
export type Decision =
  /** With the amount that was asked for: under one key it must not differ. */
  | { readonly outcome: 'paying'; readonly request: PlanChangeRequest; readonly gross: string }
  | { readonly outcome: 'changed' | 'scheduled'; readonly request: PlanChangeRequest }
  | { readonly outcome: 'declined'; readonly reason: string }
  | { readonly outcome: 'cancelled'; readonly termination: PlanTerminationRequest }
  | { readonly outcome: 'end-scheduled'; readonly endsAt: number }

/** Whose decision it is, and on what. */
export type DecisionKey = Omit<PlanChangeRecord, 'status' | 'decisionJson'>

/** The record of what was decided; `paying` is yet to be. */
export function decidedAs(
  { tenant, subscription, idempotencyKey, fingerprint }: DecisionKey,
  decision: Decision
): PlanChangeRecord {
  const status = decision.outcome === 'paying' ? 'paying' : 'done'
  return { tenant, subscription, idempotencyKey, fingerprint, status, decisionJson: JSON.stringify(decision) }
}

/** The answer to a change that was decided before. */
export function replayedChange({ decisionJson }: PlanChangeRecord): ChangeOutcome {
  const decision = JSON.parse(decisionJson) as Decision & { readonly outcome: 'changed' | 'scheduled' | 'declined' }
  if (decision.outcome === 'declined') return decision
  return { outcome: decision.outcome, change: planChange(decision.request) }
}

/** The answer to a cancellation that was decided before. */
export function replayedCancel({ decisionJson }: PlanChangeRecord): CancelOutcome {
  const decision = JSON.parse(decisionJson) as Decision & { readonly outcome: 'cancelled' | 'end-scheduled' }
  if (decision.outcome === 'end-scheduled') return { outcome: 'scheduled', endsAt: decision.endsAt }
  const { termination } = decision
  return { outcome: 'cancelled', endedAt: termination.at, termination: planTermination(termination) }
}

/** Of what is asked for, so that a key tells a repetition from another request. */
export function fingerprintOf({ to, strategy, unusedCredits }: ChangeRequest): string {
  const { name, currency, minorUnits, calendar, credits = null } = to
  const { every, timeZone, anchor } = calendar
  return keyOf(
    JSON.stringify([name, currency, minorUnits, every, timeZone, anchor, credits, strategy, unusedCredits ?? null])
  )
}

/** As `fingerprintOf`; no change has the same. */
export function cancelFingerprintOf({ when, unusedCredits }: CancelRequest): string {
  return keyOf('cancel', when, unusedCredits ?? -1)
}
