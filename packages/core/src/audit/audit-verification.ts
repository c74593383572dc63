import { isSuiteError } from '../failure/suite-error.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { integerOf, optionalIntegerOf, optionalTextOf, rows, textOf } from '../sql/statement.ts'
import { entryOf } from './audit-entry.ts'
import type { AuditIntegrity } from './audit-log.ts'
import { chainHash, GENESIS } from './hash-chain.ts'

/** Entries that are hashed in one unit: a few milliseconds, in which nothing else runs on an embedded store. */
const PAGE_ENTRIES = 256

/** How far the chain has been followed: the last sequence, and the hash that it should have. */
interface Progress {
  readonly sequence: number
  readonly hash: string
}

/**
 * Follows a tenant's chain from its first entry to the head it has now. Entries that are appended meanwhile are left
 * to the next verification, for whatever lies before a head never changes.
 */
export async function verifyLog(db: SqlDatabase, tenant: string): Promise<AuditIntegrity> {
  const extent = await db.run(() => readExtent(tenant))
  let progress: Progress = { sequence: 0, hash: GENESIS }
  while (progress.sequence < extent.sequence) {
    const from = progress
    const page = await db.run(() => readPage(tenant, from.sequence, extent.sequence))
    const followed = follow(tenant, from, page)
    if ('outcome' in followed) return followed
    progress = followed
  }
  const next = extent.sequence + 1
  if (progress.hash !== extent.hash) return broken(extent.sequence, 'the head is not the hash of the last entry')
  if (extent.last > extent.sequence) return broken(next, 'there are entries after the head')
  if (extent.first < 1) return broken(extent.first, 'there are entries before the first')
  return { outcome: 'intact', entries: extent.sequence, head: extent.hash }
}

interface Extent extends Progress {
  readonly first: number
  readonly last: number
}

/** The head and the ends of the entries, from one statement: two would see different commits on Postgres. */
function* readExtent(tenant: string): Sql<Extent> {
  const [row] = yield* rows(
    `select (select sequence from audit_heads where tenant = ?) as sequence,
            (select hash from audit_heads where tenant = ?) as hash,
            (select min(sequence) from audit_entries where tenant = ?) as first,
            (select max(sequence) from audit_entries where tenant = ?) as last`,
    tenant,
    tenant,
    tenant,
    tenant
  )
  const found = row as SqlRow
  return {
    sequence: optionalIntegerOf(found, 'sequence') ?? 0,
    hash: optionalTextOf(found, 'hash') ?? GENESIS,
    first: optionalIntegerOf(found, 'first') ?? 1,
    last: optionalIntegerOf(found, 'last') ?? 0
  }
}

function* readPage(tenant: string, after: number, last: number): Sql<readonly SqlRow[]> {
  return yield* rows(
    `select sequence, entry, hash from audit_entries
     where tenant = ? and sequence > ? and sequence <= ? order by sequence limit ?`,
    tenant,
    after,
    last,
    PAGE_ENTRIES
  )
}

function follow(tenant: string, from: Progress, page: readonly SqlRow[]): Progress | AuditIntegrity {
  let { sequence, hash } = from
  if (page.length === 0) return broken(sequence + 1, 'the entry is missing')
  for (const row of page) {
    if (integerOf(row, 'sequence') !== sequence + 1) return broken(sequence + 1, 'the entry is missing')
    sequence += 1
    hash = chainHash(hash, textOf(row, 'entry'))
    if (hash !== textOf(row, 'hash')) return broken(sequence, 'the entry or its hash was changed')
    if (!isInPlace(tenant, row)) return broken(sequence, 'the entry belongs to another place')
  }
  return { sequence, hash }
}

function isInPlace(tenant: string, row: SqlRow): boolean {
  try {
    entryOf(tenant, row)
    return true
  } catch (error) {
    if (isSuiteError(error, 'STORE_DAMAGED')) return false
    throw error
  }
}

function broken(sequence: number, reason: string): AuditIntegrity {
  return { outcome: 'broken', sequence, reason }
}
