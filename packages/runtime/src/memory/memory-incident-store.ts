import { type Clock, systemClock } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import { type Incident, OPEN_STATES, stepIncident } from '../incident/incident.ts'
import type { IncidentStore } from '../incident/incident-store.ts'

/** An incident store in memory, and the evidence it was handed. */
export interface MemoryIncidentStore extends IncidentStore {
  /** Every draft so far, in order. */
  readonly evidence: readonly AuditDraft[]
}

/** Incidents in this process's memory: for tests and demonstrations, gone with the process. */
export function memoryIncidentStore(options: { readonly clock?: Clock } = {}): MemoryIncidentStore {
  const { clock = systemClock } = options
  const incidents = new Map<string, Incident>()
  const recorded: AuditDraft[] = []
  return {
    evidence: recorded,
    async open(draft, handlingMs, evidence) {
      const known = incidents.get(draft.id)
      if (known !== undefined) return { outcome: 'opened', incident: known }
      const { supersedes } = draft
      if (supersedes !== undefined) {
        const former = incidents.get(supersedes.incidentId)
        const step = { type: 'closed', incarnation: supersedes.incarnation } as const
        const closed = former === undefined ? undefined : stepIncident(former, step, clock.now())
        if (closed === undefined) return { outcome: 'fenced' }
        incidents.set(closed.id, closed)
      }
      const incident = { ...draft, handledUntil: clock.now() + handlingMs }
      incidents.set(incident.id, incident)
      recorded.push(...evidence)
      return { outcome: 'opened', incident }
    },
    async advance(id, step, evidence) {
      const incident = incidents.get(id)
      if (incident === undefined) return { outcome: 'unknown' }
      const now = clock.now()
      const next = stepIncident(incident, step, now)
      if (next === undefined) return { outcome: 'stale', incident, now }
      incidents.set(id, next)
      recorded.push(...evidence)
      return { outcome: 'advanced', incident: next, now }
    },
    async find(id) {
      const incident = incidents.get(id)
      return incident === undefined ? undefined : { incident, now: clock.now() }
    },
    async list(tenant, { open, limit }) {
      return [...incidents.values()]
        .filter((incident) => incident.tenant === tenant && (!open || OPEN_STATES.includes(incident.state)))
        .sort((a, b) => a.detectedAt - b.detectedAt || (a.id < b.id ? -1 : 1))
        .slice(0, limit)
    }
  }
}
