import type { AuditDraft } from '@enablement/core/audit'
import type { Incident, IncidentStep } from './incident.ts'

/** What became of a step. */
export type IncidentAdvance =
  | { readonly outcome: 'advanced'; readonly incident: Incident; readonly now: number }
  /** The step does not apply to where the incident stands; nothing was changed. */
  | { readonly outcome: 'stale'; readonly incident: Incident; readonly now: number }
  | { readonly outcome: 'unknown' }

/** What became of an opening. Opening one again changes nothing. */
export type IncidentOpening =
  | { readonly outcome: 'opened'; readonly incident: Incident }
  | { readonly outcome: 'fenced' }

/**
 * Where incidents are kept. State and evidence are one transaction. The store's own clock decides about `handledUntil`
 * and `ownedUntil`, for processes on different machines race on them.
 */
export interface IncidentStore {
  /**
   * Records it with `handledUntil` `handlingMs` from the store's now, and closes the incident that it supersedes in the
   * same transaction: a sandbox never has two that lead on. `fenced`: that one has another owner; nothing was changed.
   */
  open(
    incident: Omit<Incident, 'handledUntil'>,
    handlingMs: number,
    evidence: readonly AuditDraft[]
  ): Promise<IncidentOpening>
  /** Applies `stepIncident` and appends `evidence` if it applied. */
  advance(id: string, step: IncidentStep, evidence: readonly AuditDraft[]): Promise<IncidentAdvance>
  /** The incident, and the store's time. */
  find(id: string): Promise<{ readonly incident: Incident; readonly now: number } | undefined>
  /** A tenant's incidents, the oldest first, at most `limit`: those that `recover` leads on, or all. */
  list(tenant: string, options: { readonly open: boolean; readonly limit: number }): Promise<readonly Incident[]>
}
