import type { AuditDraft } from '@enablement/core/audit'
import type { DedupVerdict } from '../dedup/repeat.ts'
import type { SetAsideDecision } from '../usage/set-aside.ts'
import type { UsageEntry } from '../usage/usage-store.ts'

/**
 * What the record says of an entry: nothing of a repetition. Properties stay out. The subscription is a detail: with the
 * transaction id both would be too long for a subject.
 */
export function entryEvidence(entry: UsageEntry, verdict: DedupVerdict): AuditDraft[] {
  const { tenant, subscription, transactionId, metric, quantity, at, payloadHash, setAside } = entry
  if (verdict.outcome === 'duplicate') return []
  const detail = { subscription, metric, quantity, at, payloadHash }
  return [
    {
      tenant,
      actor: 'system:metering',
      action: verdict.outcome === 'conflict' ? 'usage.conflicted' : ACTIONS[setAside ?? 'counted'],
      subject: `usage:${transactionId}`,
      detail: entry.unconfirmed === true ? { ...detail, unconfirmed: true } : detail
    }
  ]
}

const ACTIONS = { counted: 'usage.recorded', quarantine: 'usage.quarantined', review: 'usage.sent-to-review' } as const

/** What the record says of a decision. */
export function decisionEvidence(decision: SetAsideDecision): AuditDraft {
  const { tenant, subscription, transactionId, reason, by } = decision
  const counted = decision.as === 'counted' ? { at: decision.at, lateness: decision.lateness } : {}
  return {
    tenant,
    actor: by,
    action: DECISIONS[decision.as],
    subject: `usage:${transactionId}`,
    detail: { subscription, from: reason, ...counted }
  }
}

const DECISIONS = {
  counted: 'usage.released',
  review: 'usage.sent-to-review',
  discarded: 'usage.discarded'
} as const
