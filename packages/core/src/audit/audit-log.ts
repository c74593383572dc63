import type { JsonObject } from '../json/json.ts'
import type { Sql } from '../sql/sql-database.ts'
import type { AuditIntegrity } from './audit-integrity.ts'

/**
 * A fact for the record: who did what to what. The four names take up to 512 bytes of UTF-8 each and stay for ever: ids
 * belong there, not personal data. The detail takes up to 16,384 characters as canonical JSON and can be erased.
 */
export interface AuditDraft {
  readonly tenant: string
  /** Who acted: `approver:bo`, `agent:agent-7`, `system:escalation`. */
  readonly actor: string
  /** Dotted, lower case and past tense: `request.approved`. `audit.` is the log's own. */
  readonly action: string
  /** What it was done to: `request:0198…`. */
  readonly subject: string
  readonly detail?: JsonObject
}

/** What an entry is known by. Kept elsewhere, it proves later that the entry was there, and what it said. */
export interface AuditRef {
  readonly tenant: string
  /** A UUIDv7, unique in the database. */
  readonly id: string
  /** The entry's leaf in its tenant's tree: SHA-256 in hex, RFC 9162 §2.1.1. */
  readonly leafHash: string
  /** Its place in the tree: 0, 1, 2 … without gaps within the tenant. Known from the start in a chained log alone. */
  readonly leafIndex?: number
}

/** An entry as it stands in the log. */
export interface AuditEntry extends AuditDraft {
  readonly id: string
  /** The writer's wall clock at the time of the append: epoch milliseconds. */
  readonly at: number
  readonly leafHash: string
  /** Undefined until the entry is sealed. */
  readonly leafIndex: number | undefined
  /** Whether it had a detail, which was erased. */
  readonly redacted: boolean
}

/** What to erase, and why. */
export interface RedactionRequest {
  readonly tenant: string
  /** The entry whose detail goes. */
  readonly id: string
  /** Who asks for it: the actor of the entry that says so. */
  readonly actor: string
  /** Up to 512 bytes of UTF-8, kept for ever: `erasure request 118`, not what was erased. */
  readonly reason: string
}

/** What became of a redaction. Everything but `redacted` changed nothing. */
export type Redaction =
  | { readonly outcome: 'redacted'; readonly ref: AuditRef }
  | { readonly outcome: 'already-redacted' | 'without-detail' | 'unknown' }

/** Which entries to read. */
export interface AuditPage {
  /** Entries to skip: how many have been read before. 0 unless given. */
  readonly after?: number
  /** 100 unless given, 1,000 at most. */
  readonly limit?: number
}

/**
 * A tamper-evident record per tenant. Tamper-evident, not tamper-proof: whoever owns the database can change it, and the
 * README's table says which change is found when, and with what.
 *
 * Drafts that are not well-formed throw `INVALID_OPTIONS` or `NOT_JSON` before anything is written; the rest throws what
 * the database throws.
 */
export interface AuditLog {
  /** Appends inside the caller's unit, so that a state and its record are committed together or not at all. */
  append(draft: AuditDraft): Sql<AuditRef>
  /**
   * As `append` for one after the other, in one statement: up to 1,000 drafts, of any tenants. Answers in the order of the
   * drafts.
   */
  appendAll(drafts: readonly AuditDraft[]): Sql<readonly AuditRef[]>
  /** Appends a fact that belongs to no unit. Resolved means committed. */
  record(draft: AuditDraft): Promise<AuditRef>
  /**
   * Erases the detail of an entry and its salt, and appends that it did, as `audit.redacted`, inside the caller's unit.
   * The entry still verifies and says that it was redacted. What the database keeps of erased rows in free pages, logs,
   * replicas and backups is the database's business. Throws `INVALID_OPTIONS`.
   */
  redact(request: RedactionRequest): Sql<Redaction>
  /**
   * Reads a tenant's entries: the sealed ones by leaf index, which is their order for ever, then those that are not
   * sealed yet in the order in which the database met them. Throws `STORE_DAMAGED` for an entry that cannot be read.
   */
  read(tenant: string, page?: AuditPage): Promise<readonly AuditEntry[]>
  /**
   * The entries about these subjects, at most 10,000 of the latest, in the order in which the database met them. Throws
   * `STORE_DAMAGED` for an entry that cannot be read.
   */
  about(tenant: string, subjects: readonly string[]): Promise<readonly AuditEntry[]>
  /** Recomputes a tenant's log as `verifyAuditLog` does. */
  verify(tenant: string): Promise<AuditIntegrity>
}
