import type { JsonObject } from '../json/json.ts'
import type { Sql } from '../sql/sql-database.ts'

/**
 * A fact for the record: who did what to what. Never a secret or a payload. The four names take up to 512 characters
 * each, the detail up to 16,384 as canonical JSON.
 */
export interface AuditDraft {
  readonly tenant: string
  /** Who acted: `approver:bo`, `agent:agent-7`, `system:escalation`. */
  readonly actor: string
  /** Dotted, lower case and past tense: `request.approved`. */
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

/**
 * A tamper-evident record, one hash chain per tenant. Whoever edits, inserts, deletes or moves entries breaks the chain;
 * whoever can rewrite all that follows, head included, makes a new one that verifies. Against that, keep a head (from
 * `verify`, or an `AuditRef`) where the writer of the database cannot reach it, and look for it among the entries.
 *
 * Drafts that are not well-formed throw `INVALID_OPTIONS` or `NOT_JSON` before anything is written; the rest throws what
 * the database throws.
 */
export interface AuditLog {
  /** Appends inside the caller's unit, so that a state and its record are committed together or not at all. */
  append(draft: AuditDraft): Sql<AuditRef>
  /** Appends a fact that belongs to no unit. Resolved means committed. */
  record(draft: AuditDraft): Promise<AuditRef>
  /**
   * Reads a tenant's entries in order, from `after` (exclusive; 0 for all), at most `limit` of them: 100 unless told
   * otherwise, 1,000 at most. Throws `STORE_DAMAGED` for an entry that cannot be read.
   */
  read(tenant: string, options?: { readonly after?: number; readonly limit?: number }): Promise<readonly AuditEntry[]>
  /** Recomputes a tenant's chain from its first entry to its head, a page at a time. */
  verify(tenant: string): Promise<AuditIntegrity>
}
