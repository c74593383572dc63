import type { JsonObject } from '../json/json.ts'
import type { Sql } from '../sql/sql-database.ts'

/** A fact for the record: who did what to what. Never a secret or a payload. */
export interface AuditDraft {
  readonly tenant: string
  /** Who acted: `approver:bo`, `agent:agent-7`, `system:escalation`. */
  readonly actor: string
  /** Dotted and past tense: `request.approved`. */
  readonly action: string
  /** What it was done to: `request:0198…`. */
  readonly subject: string
  readonly detail?: JsonObject
}

/** Where an entry stands in its tenant's log. */
export interface AuditRef {
  readonly tenant: string
  /** 1, 2, 3 … without gaps within the tenant. */
  readonly sequence: number
  /** SHA-256 over the predecessor's hash and this entry, in hex. */
  readonly hash: string
}

/** An entry as it stands in the log. */
export interface AuditEntry extends AuditDraft {
  readonly sequence: number
  /** Wall clock at the time of the append: epoch milliseconds. */
  readonly at: number
  readonly hash: string
}

/** Whether a tenant's log is what was written. */
export type AuditIntegrity =
  | { readonly outcome: 'intact'; readonly entries: number; readonly head: string }
  | { readonly outcome: 'broken'; readonly sequence: number; readonly reason: string }

/** A tamper-evident record, one hash chain per tenant. */
export interface AuditLog {
  /** Appends inside the caller's unit, so that a state and its record are committed together or not at all. */
  append(draft: AuditDraft): Sql<AuditRef>
  /** Appends a fact that belongs to no unit. Resolved means committed. */
  record(draft: AuditDraft): Promise<AuditRef>
  /** Reads a tenant's entries in order, from `after` (exclusive; 0 for all), at most `limit` of them. */
  read(tenant: string, options?: { readonly after?: number; readonly limit?: number }): Promise<readonly AuditEntry[]>
  /** Recomputes a tenant's chain from its first entry to its head. */
  verify(tenant: string): Promise<AuditIntegrity>
}
