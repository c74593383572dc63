import type { ApprovalAsk } from '@enablement/core'
import type { Incident } from './incident.ts'

/** The action that approvers decide on. */
const RAISE_ACTION = 'runtime.raise-memory-limit'

/** The request for a larger limit. The key is derived from the incident, so that an incident has one request. */
export function raiseRequest(incident: Incident): ApprovalAsk {
  const { id, tenant, agent, sandboxId, limitBytes, requestedLimitBytes, peakBytes, checkpointId, evaluation } =
    incident
  return {
    tenant,
    idempotencyKey: `runtime.incident:${id}`,
    action: RAISE_ACTION,
    requestedBy: { agent },
    summary: `${agent} ran out of memory at ${inMebibytes(limitBytes)}; raise its limit to ${inMebibytes(requestedLimitBytes)}?`,
    detail: {
      resource: 'memory',
      agent,
      incidentId: id,
      sandboxId,
      currentLimitBytes: limitBytes,
      requestedLimitBytes,
      peakBytes,
      checkpointId: checkpointId ?? null,
      evaluation
    }
  }
}

const inMebibytes = (bytes: number): string => `${Math.round((bytes / 1_048_576) * 10) / 10} MiB`
