import type { Sql } from '../sql/sql-database.ts'
import { firstRow, integerOf, optionalIntegerOf } from '../sql/statement.ts'
import { ENTRY_COLUMNS, timeOf } from './audit-entry.ts'

/** How long entries may stay without a signature, and how many. */
export interface AuditWindow {
  /** 60,000 unless given. */
  readonly maxMs?: number
  /** 10,000 unless given. */
  readonly maxRows?: number
}

export const WINDOW_MS = 60_000
export const WINDOW_ROWS = 10_000

/** Entries that no checkpoint covers yet: what the owner of the database could still change without a trace. */
export interface AuditBacklog {
  /** Entries that are not in a tree yet; no more than `maxRows` + 1 are counted. */
  readonly unsealedRows: number
  /** Entries that are in a tree without a checkpoint. */
  readonly unsignedRows: number
  /** When the oldest of all these was written, by its writer's clock: epoch milliseconds; undefined when there are none. */
  readonly oldestAt: number | undefined
}

/** Heads that are looked at for the oldest unsigned entry. */
const HEADS_MAX = 1_024

/**
 * What no checkpoint covers. The counts are bounded: a backlog of millions must not be read whole once a second. The
 * order of the inner select is the index's, and keeps Postgres from walking the table for the lowest position.
 */
export function* readBacklog(maxRows: number): Sql<AuditBacklog> {
  const unsealed = yield* firstRow(
    `select count(*) as entries, min(position) as oldest
     from (select tenant, position from audit_entries where leaf_index is null order by tenant, position limit ?) as oldest`,
    maxRows + 1
  )
  const unsigned = yield* firstRow(
    'select cast(coalesce(sum(size - signed_size), 0) as bigint) as entries from audit_heads where size > signed_size'
  )
  const oldestUnsigned = yield* firstRow(
    `select min(position) as oldest
     from (select tenant, signed_size from audit_heads where size > signed_size order by tenant limit ?) as pending
     join audit_entries on audit_entries.tenant = pending.tenant and audit_entries.leaf_index = pending.signed_size`,
    HEADS_MAX
  )
  const positions = [unsealed, oldestUnsigned].flatMap((row) => optionalIntegerOf(row ?? {}, 'oldest') ?? [])
  const row =
    positions.length === 0
      ? undefined
      : yield* firstRow(`select ${ENTRY_COLUMNS} from audit_entries where position = ?`, Math.min(...positions))
  return {
    unsealedRows: integerOf(unsealed ?? {}, 'entries'),
    unsignedRows: integerOf(unsigned ?? {}, 'entries'),
    oldestAt: row === undefined ? undefined : timeOf(row)
  }
}
