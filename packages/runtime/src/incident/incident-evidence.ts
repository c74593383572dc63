import type { JsonObject } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import type { Incident, IncidentStep } from './incident.ts'

/** The audit entries for an incident's opening, and for the closing of the one that it supersedes. */
export function openingEvidence(incident: Omit<Incident, 'handledUntil'>): readonly AuditDraft[] {
  const { tenant, sandboxId, limitBytes, peakBytes, evaluation, supersedes } = incident
  const detected = draft(incident, 'detected', { sandboxId, limitBytes, peakBytes, evaluation })
  if (supersedes === undefined) return [detected]
  const { incidentId, incarnation } = supersedes
  return [draft({ tenant, id: incidentId }, 'closed', { incarnation }), detected]
}

/** The audit entries for a step. Renewals are heartbeats, not facts. */
export function stepEvidence(incident: Incident, step: IncidentStep): readonly AuditDraft[] {
  switch (step.type) {
    case 'checkpointed':
      return [draft(incident, 'checkpointed', { checkpointId: step.checkpointId ?? null })]
    case 'asked':
      return [draft(incident, 'asked', { approvalRequestId: step.approvalRequestId })]
    case 'raised':
      return [draft(incident, 'limit.raised', { limitBytes: step.limitBytes, fence: step.fence })]
    case 'refused':
      return [draft(incident, 'limit.refused', { verdict: step.refusal.verdict })]
    case 'claimed':
      return [draft(incident, 'claimed', { sandboxId: incident.sandboxId })]
    case 'released':
      return [draft(incident, 'released', { incarnation: step.incarnation })]
    case 'closed':
      return [draft(incident, 'closed', { incarnation: step.incarnation })]
    case 'renewed':
      return []
  }
}

function draft({ tenant, id }: Pick<Incident, 'tenant' | 'id'>, action: string, detail: JsonObject): AuditDraft {
  return { tenant, actor: 'system:runtime', action: `memory-incident.${action}`, subject: `incident:${id}`, detail }
}
