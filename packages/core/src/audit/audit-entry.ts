import { CoreError } from '../failure/core-error.ts'
import { canonicalJson } from '../json/canonical-json.ts'
import type { SqlRow } from '../sql/sql-database.ts'
import { integerOf, textOf } from '../sql/statement.ts'
import type { AuditDraft, AuditEntry } from './audit-log.ts'

/** The text of an entry, which is what is hashed and stored: the entry without its hash, as canonical JSON. */
export function entryText(draft: AuditDraft, sequence: number, at: number): string {
  return canonicalJson({ ...draft, sequence, at })
}

/** The entry that a row holds. Throws `STORE_DAMAGED` when its text is not one, or is that of another place in a log. */
export function entryOf(tenant: string, row: SqlRow): AuditEntry {
  const sequence = integerOf(row, 'sequence')
  const entry = parsed(textOf(row, 'entry'))
  if (entry?.tenant !== tenant || entry.sequence !== sequence) {
    const reason = `audit entry ${sequence} holds something else`
    throw new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
  }
  return { ...entry, hash: textOf(row, 'hash') }
}

function parsed(text: string): AuditEntry | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as AuditEntry) : undefined
  } catch {
    return undefined
  }
}
