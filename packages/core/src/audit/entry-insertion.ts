import { concatBytes } from '@noble/hashes/utils.js'
import { jsonRows } from '../sql/json-rows.ts'
import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { execute } from '../sql/statement.ts'
import type { CheckedDraft } from './audit-draft.ts'
import type { StoredEntry } from './audit-entry.ts'
import { SALT_BYTES } from './detail-commitment.ts'
import { HASH_BYTES } from './merkle-hash.ts'

/** An entry that is to be written, and its place in the tree if it has one yet. */
interface NewEntry {
  readonly draft: CheckedDraft
  readonly entry: StoredEntry
  readonly leafIndex: number | undefined
}

/** Writes entries in their order, as a part of a unit. */
type InsertEntries = (entries: readonly NewEntry[]) => Sql<void>

const COLUMNS = 'tenant, id, leaf_index, leaf_hash, action, subject, entry, detail, salt'
const NO_SALT = new Uint8Array(SALT_BYTES)

export function entryInsertion(dialect: SqlDialect): InsertEntries {
  const given = jsonRows(dialect, {
    tenant: 'text',
    id: 'text',
    leaf_index: 'integer',
    action: 'text',
    subject: 'text',
    entry: 'text',
    detail: 'text'
  })
  // For one entry faster than the text for any number of them.
  const insertText = `insert into audit_entries(${COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)`
  // Hashes and salts travel as one piece, since JSON has no bytes: those of an entry lie side by side, at its place.
  const from = (offset: number): string => {
    const at = `place * ${HASH_BYTES + SALT_BYTES} + ${offset + 1}`
    return dialect.name === 'postgres' ? `cast(${at} as int)` : at
  }
  const piece = dialect.name === 'postgres' ? 'bytea' : 'blob'
  const insertAllText = `insert into audit_entries(${COLUMNS})
    select tenant, id, leaf_index, substr(cast(? as ${piece}), ${from(0)}, ${HASH_BYTES}), action, subject, entry, detail,
      case when detail is not null then substr(cast(? as ${piece}), ${from(HASH_BYTES)}, ${SALT_BYTES}) end
    from ${given.select} as given order by place`

  return function* insert(entries) {
    const [first] = entries
    if (entries.length === 1 && first !== undefined) {
      const { draft, entry, leafIndex = null } = first
      const { id, leafHash, text, detail = null, salt = null } = entry
      const { tenant, action, subject } = draft
      yield* execute(insertText, tenant, id, leafIndex, leafHash, action, subject, text, detail, salt)
      return
    }
    const bytes = concatBytes(...entries.flatMap(({ entry: { leafHash, salt } }) => [leafHash, salt ?? NO_SALT]))
    const parameter = given.parameter(
      entries.map(({ draft: { tenant, action, subject }, entry: { id, text, detail = null }, leafIndex = null }) => {
        return { tenant, id, leaf_index: leafIndex, action, subject, entry: text, detail }
      })
    )
    yield* execute(insertAllText, bytes, bytes, parameter)
  }
}
