import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { execute, firstRow, integerOf, rows, textOf } from '../sql/statement.ts'
import { checkDraft } from './audit-draft.ts'
import { entryOf, entryText } from './audit-entry.ts'
import type { AuditDraft, AuditLog, AuditRef } from './audit-log.ts'
import { verifyLog } from './audit-verification.ts'
import { chainHash, GENESIS } from './hash-chain.ts'

/** Where the log lives. */
export interface AuditLogOptions {
  /** A database that has taken `auditSchema`. */
  readonly db: SqlDatabase
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<AuditLogOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** Entries that one `read` gives at most, and unless it is told otherwise. An entry has at most about 18 KiB. */
const READ_MAX = 1_000
const READ_DEFAULT = 100

const readSchema: z.ZodType<{ readonly after?: number; readonly limit?: number }> = z.strictObject({
  after: z.int().min(0).exactOptional(),
  limit: z.int().min(1).max(READ_MAX).exactOptional()
})

/**
 * The audit log in the tables of `auditSchema`: one hash chain per tenant, which several processes extend at the same
 * time without forking it, because each append locks its tenant's head row until its unit ends. One tenant's units
 * that append therefore run one after another; append last in a unit, so that it holds the lock for a short time.
 *
 * Throws `INVALID_OPTIONS`.
 */
export function createAuditLog(options: AuditLogOptions): AuditLog {
  const { db, platform = systemPlatform } = parseOptions(optionsSchema, 'createAuditLog', options)

  function* append(draft: AuditDraft): Sql<AuditRef> {
    const { tenant } = draft
    const head = yield* lockHead(tenant)
    const sequence = integerOf(head, 'sequence') + 1
    const entry = entryText(draft, sequence, platform.clock.now())
    const hash = chainHash(textOf(head, 'hash'), entry)
    yield* execute(
      'insert into audit_entries(tenant, sequence, entry, hash) values (?, ?, ?, ?)',
      tenant,
      sequence,
      entry,
      hash
    )
    yield* execute('update audit_heads set sequence = ?, hash = ? where tenant = ?', sequence, hash, tenant)
    return { tenant, sequence, hash }
  }

  /**
   * The tenant's head row, locked. It is made first where there is none: a lock on a row that does not exist holds
   * nobody up, and two first appends would fork the chain. The select after the insert reads what the winner committed.
   */
  function* lockHead(tenant: string): Sql<SqlRow> {
    const select = `select sequence, hash from audit_heads where tenant = ?${db.dialect.forUpdate}`
    const found = yield* firstRow(select, tenant)
    if (found !== undefined) return found
    const insert = 'insert into audit_heads(tenant, sequence, hash) values (?, 0, ?) on conflict do nothing'
    yield* execute(insert, tenant, GENESIS)
    const made = yield* firstRow(select, tenant)
    if (made !== undefined) return made
    const reason = 'an audit head vanished while it was made'
    throw new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
  }

  return {
    append: (draft) => append(checkDraft(draft)),
    async record(draft) {
      const checked = checkDraft(draft)
      return db.run(() => append(checked))
    },
    async read(tenant, page = {}) {
      const { after = 0, limit = READ_DEFAULT } = parseOptions(readSchema, 'auditLog.read', page)
      const found = await db.run(() =>
        rows(
          'select sequence, entry, hash from audit_entries where tenant = ? and sequence > ? order by sequence limit ?',
          tenant,
          after,
          limit
        )
      )
      return found.map((row) => entryOf(tenant, row))
    },
    verify: (tenant) => verifyLog(db, tenant)
  }
}
