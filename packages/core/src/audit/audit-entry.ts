import { bytesToHex } from '@noble/hashes/utils.js'
import { CoreError } from '../failure/core-error.ts'
import type { SqlRow } from '../sql/sql-database.ts'
import { bytesOf, integerOf, optionalIntegerOf, optionalTextOf, textOf } from '../sql/statement.ts'
import { type CheckedDraft, isObject } from './audit-draft.ts'
import type { EntryDamage } from './audit-integrity.ts'
import type { AuditEntry } from './audit-log.ts'
import { commitmentTo, newSalt, SALT_BYTES } from './detail-commitment.ts'
import { leafHashOf, sameHash } from './merkle-hash.ts'

const utf8 = new TextEncoder()

/** The version of the text below, in it: a later form cannot pass for this one. */
const FORMAT = 1

/** What a row holds of an entry. The text is hashed byte for byte and never changes; detail and salt can be erased. */
export interface StoredEntry {
  readonly id: string
  readonly text: string
  readonly leafHash: Uint8Array
  readonly detail: string | undefined
  readonly salt: Uint8Array | undefined
}

/** The text of an entry: names as in the draft, and in the place of its detail the commitment to it. */
interface EntryText extends Omit<CheckedDraft, 'detail'> {
  readonly id: string
  readonly at: number
  readonly format: number
  readonly detailHash?: string
}

/** The columns that `entryOf` and `damageOf` read. */
export const ENTRY_COLUMNS = 'position, tenant, id, leaf_index, leaf_hash, action, subject, entry, detail, salt'

/** Makes the entry of a draft, `at` epoch milliseconds. */
export function newEntry(draft: CheckedDraft, id: string, at: number): StoredEntry {
  const { detail, ...names } = draft
  const salt = detail === undefined ? undefined : newSalt()
  const detailHash = detail === undefined || salt === undefined ? undefined : commitmentTo(detail, salt)
  const text = canonicalText({ ...names, id, at, format: FORMAT, ...(detailHash === undefined ? {} : { detailHash }) })
  return { id, text, leafHash: leafHashOf(utf8.encode(text)), detail, salt }
}

/**
 * The canonical JSON of an entry. Its members are few and known, and its names checked: written in the order of their
 * keys, `JSON.stringify` gives the same in a third of the time.
 */
function canonicalText({ action, actor, at, detailHash, format, id, subject, tenant }: EntryText): string {
  return JSON.stringify({ action, actor, at, detailHash, format, id, subject, tenant })
}

/** The entry in a row. Throws `STORE_DAMAGED` when the row holds none, or that of another place. */
export function entryOf(row: SqlRow): AuditEntry {
  const text = entryTextOf(row)
  if (text === undefined) throw damaged(row, 'entry')
  const { tenant, actor, action, subject, id, at, detailHash } = text
  const stored = optionalTextOf(row, 'detail')
  const detail = stored === undefined ? undefined : parsed(stored)
  if (stored !== undefined && !isObject(detail)) throw damaged(row, 'detail')
  return {
    tenant,
    actor,
    action,
    subject,
    id,
    at,
    ...(isObject(detail) ? { detail } : {}),
    redacted: detailHash !== undefined && stored === undefined,
    leafHash: bytesToHex(bytesOf(row, 'leaf_hash')),
    leafIndex: optionalIntegerOf(row, 'leaf_index')
  }
}

/**
 * What is wrong with an entry, or whether its detail was erased (`erased`), which is right when a redaction says so.
 * Otherwise undefined.
 */
export function damageOf(row: SqlRow): EntryDamage | 'erased' | undefined {
  const stored = row['entry']
  const hash = row['leaf_hash']
  if (typeof stored !== 'string' || !(hash instanceof Uint8Array)) return 'entry-changed'
  if (!(stored.isWellFormed() && sameHash(leafHashOf(utf8.encode(stored)), hash))) return 'entry-changed'
  const text = entryTextOf(row)
  if (text === undefined) return 'entry-misplaced'
  const detail = row['detail']
  const salt = row['salt']
  if (text.detailHash === undefined) return detail === null && salt === null ? undefined : 'detail-changed'
  if (detail === null && salt === null) return 'erased'
  if (typeof detail !== 'string' || !(salt instanceof Uint8Array)) return 'detail-erased'
  return salt.length === SALT_BYTES && commitmentTo(detail, salt) === text.detailHash ? undefined : 'detail-changed'
}

/** When the entry in a row was made, undefined when it does not say. */
export function timeOf(row: SqlRow): number | undefined {
  return entryTextOf(row)?.at
}

/** Whether the entry in a row was made with a detail. */
export function hasDetail(row: SqlRow): boolean {
  return entryTextOf(row)?.detailHash !== undefined
}

/** What the text of a row says, if it is one of ours and says what the columns say by which rows are found. */
function entryTextOf(row: SqlRow): EntryText | undefined {
  const value = parsed(textOf(row, 'entry'))
  if (typeof value !== 'object' || value === null) return undefined
  const text = value as Readonly<Record<string, unknown>>
  const found = ['tenant', 'id', 'action', 'subject'].every((column) => text[column] === row[column])
  if (!found || text['format'] !== FORMAT) return undefined
  if (typeof text['actor'] !== 'string' || !Number.isSafeInteger(text['at'])) return undefined
  const commitment = text['detailHash']
  if (commitment !== undefined && typeof commitment !== 'string') return undefined
  return value as EntryText
}

function damaged(row: SqlRow, what: 'entry' | 'detail'): CoreError<'STORE_DAMAGED'> {
  const reason = `the audit ${what} at position ${integerOf(row, 'position')} holds something else`
  return new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
