import { bytesToHex } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { systemRandom } from '../chance/random.ts'
import { createIdSource } from '../chance/uuid-v7.ts'
import { parseOptions } from '../failure/options.ts'
import { canonicalJson } from '../json/canonical-json.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { jsonRows } from '../sql/json-rows.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { execute, firstRow, rows, textOf } from '../sql/statement.ts'
import { type CheckedDraft, checkDraft, checkDrafts, nameSchema } from './audit-draft.ts'
import { ENTRY_COLUMNS, entryOf, hasDetail, newEntry } from './audit-entry.ts'
import type { AuditDraft, AuditLog, AuditPage, AuditRef, Redaction, RedactionRequest } from './audit-log.ts'
import { entryInsertion } from './entry-insertion.ts'
import { growingLogs } from './growing-logs.ts'
import { REDACTED, redactionSubject } from './redaction.ts'
import { verifyAuditLog } from './verification.ts'

/** Where the log lives, and when its entries become leaves. */
export interface AuditLogOptions {
  /** A database that has taken `auditSchema`. */
  readonly db: SqlDatabase
  /**
   * `deferred`, the default: an append is one insert that waits for nobody, and a sealer (`createAuditSealer`) makes the
   * entry a leaf of its tenant's tree within the stated window. Until then its removal leaves no trace in the log.
   *
   * `chained`: the entry becomes the next leaf in its own unit, under a lock on its tenant's head that lasts until the
   * unit ends. No entry is ever without its place, and one tenant's units that append run one after another; append
   * last in a unit. A sealer still signs the tree.
   *
   * Both may extend the same log at the same time.
   */
  readonly ordering?: 'deferred' | 'chained'
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<AuditLogOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value),
  ordering: z.enum(['deferred', 'chained']).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** Entries that one `read` gives at most, and unless it is told otherwise. An entry has at most about 20 KiB. */
const READ_MAX = 1_000
const READ_DEFAULT = 100

/** Entries about a few subjects that are read at once: a thing with more has a history, and no story. */
const ABOUT_MAX = 10_000

const pageSchema: z.ZodType<AuditPage> = z.strictObject({
  after: z.int().min(0).exactOptional(),
  limit: z.int().min(1).max(READ_MAX).exactOptional()
})

const redactionSchema: z.ZodType<RedactionRequest> = z.strictObject({
  tenant: nameSchema,
  id: nameSchema,
  actor: nameSchema,
  reason: nameSchema
})

/** The audit log in the tables of `auditSchema`. Any number of processes extend it. Throws `INVALID_OPTIONS`. */
export function createAuditLog(options: AuditLogOptions): AuditLog {
  const {
    db,
    ordering = 'deferred',
    platform = systemPlatform
  } = parseOptions(optionsSchema, 'createAuditLog', options)
  // Not the platform's chance: two platforms of one seed would give two entries of one database the same id.
  const nextId = createIdSource({ clock: platform.clock, random: systemRandom })

  const insert = entryInsertion(db.dialect)
  const logs = growingLogs(db.dialect)

  function* appendAll(drafts: readonly CheckedDraft[]): Sql<readonly AuditRef[]> {
    if (drafts.length === 0) return []
    const grown = ordering === 'chained' ? yield* logs.lock(new Set(drafts.map(({ tenant }) => tenant))) : undefined
    const entries = drafts.map((draft) => {
      const entry = newEntry(draft, nextId(), platform.clock.now())
      const log = grown?.get(draft.tenant)
      if (log === undefined) return { draft, entry, leafIndex: undefined }
      return { draft, entry, leafIndex: log.edge.size + log.leaves.push(entry.leafHash) - 1 }
    })
    yield* insert(entries)
    if (grown !== undefined) yield* logs.extend(grown)
    return entries.map(({ draft: { tenant }, entry: { id, leafHash }, leafIndex }) => {
      const ref = { tenant, id, leafHash: bytesToHex(leafHash) }
      return leafIndex === undefined ? ref : { ...ref, leafIndex }
    })
  }

  function* append(draft: CheckedDraft): Sql<AuditRef> {
    const [ref] = yield* appendAll([draft])
    return ref as AuditRef
  }

  const subjectRows = jsonRows(db.dialect, { subject: 'text' })
  const aboutText = `select ${ENTRY_COLUMNS} from audit_entries
    where tenant = ? and subject in (select subject from ${subjectRows.select} as given) order by position desc limit ?`

  function* readAbout(tenant: string, subjects: readonly string[]): Sql<readonly SqlRow[]> {
    const given = subjectRows.parameter(subjects.map((subject) => ({ subject })))
    return (yield* rows(aboutText, tenant, given, ABOUT_MAX)).toReversed()
  }

  function* redact({ tenant, id, actor, reason }: RedactionRequest): Sql<Redaction> {
    const select = `select ${ENTRY_COLUMNS} from audit_entries where id = ? and tenant = ?${db.dialect.forUpdate}`
    const row = yield* firstRow(select, id, tenant)
    if (row === undefined) return { outcome: 'unknown' }
    if (!hasDetail(row)) return { outcome: 'without-detail' }
    if (row['detail'] === null) return { outcome: 'already-redacted' }
    yield* execute('update audit_entries set detail = null, salt = null where id = ?', id)
    const draft = { tenant, actor, action: REDACTED, subject: redactionSubject(id), detail: canonicalJson({ reason }) }
    return { outcome: 'redacted', ref: yield* append(draft) }
  }

  return {
    append: (draft: AuditDraft) => append(checkDraft(draft)),
    appendAll: (drafts) => appendAll(checkDrafts(drafts)),
    async record(draft) {
      const checked = checkDraft(draft)
      return db.run(() => append(checked))
    },
    redact: (request) => redact(parseOptions(redactionSchema, 'auditLog.redact', request)),
    async read(tenant, page = {}) {
      const { after = 0, limit = READ_DEFAULT } = parseOptions(pageSchema, 'auditLog.read', page)
      return (await db.run(() => readPage(tenant, after, limit))).map(entryOf)
    },
    about: async (tenant, subjects) => (await db.run(() => readAbout(tenant, subjects))).map(entryOf),
    verify: (tenant) => verifyAuditLog(db, tenant)
  }
}

/**
 * A page of the log. What is not sealed is read first: on Postgres the second statement sees what was committed since,
 * so an entry that is sealed in between is met twice, and dropped once, instead of never.
 */
function* readPage(tenant: string, after: number, limit: number): Sql<readonly SqlRow[]> {
  const unsealed = yield* rows(
    `select ${ENTRY_COLUMNS} from audit_entries where tenant = ? and leaf_index is null order by position limit ?
     offset (select case when sealed.size < ? then ? - sealed.size else 0 end
             from (select coalesce((select size from audit_heads where tenant = ?), 0) as size) as sealed)`,
    tenant,
    limit,
    after,
    after,
    tenant
  )
  const sealed = yield* rows(
    `select ${ENTRY_COLUMNS} from audit_entries where tenant = ? and leaf_index >= ? order by leaf_index limit ?`,
    tenant,
    after,
    limit
  )
  const met = new Set(sealed.map((row) => textOf(row, 'id')))
  return [...sealed, ...unsealed.filter((row) => !met.has(textOf(row, 'id')))].slice(0, limit)
}
