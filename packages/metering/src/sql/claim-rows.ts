import {
  execute,
  firstRow,
  integerOf,
  jsonRows,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { storeNow } from '../store-clock.ts'

/** Rows that were claimed, the store's time, and how long until the next row that nobody has claimed is due. */
export interface ClaimedRows {
  readonly claimed: readonly SqlRow[]
  readonly now: number
  readonly nextDueInMs: number | undefined
}

/**
 * Claims due rows of a table that is keyed by account, those that have waited longest first: each is due again `leaseMs`
 * from now. Those that another unit has locked are left to it.
 */
export function* claimRows(
  db: SqlDatabase,
  table: string,
  columns: string,
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number }
): Sql<ClaimedRows> {
  const { dialect } = db
  const keys = jsonRows(dialect, { account_key: 'text' })
  const now = yield* storeNow(dialect)
  const claimed = yield* rows(
    `select account_key, ${columns} from ${table} where next_due_at <= ? order by next_due_at limit ?${dialect.skipLocked}`,
    now,
    limit
  )
  const ahead = yield* firstRow(
    `select next_due_at from ${table} where next_due_at > ? order by next_due_at limit 1`,
    now
  )
  if (claimed.length > 0) {
    yield* execute(
      `update ${table} set next_due_at = ? where account_key in (select account_key from ${keys.select} as given)`,
      now + leaseMs,
      keys.parameter(claimed.map((row) => ({ account_key: textOf(row, 'account_key') })))
    )
  }
  return { claimed, now, nextDueInMs: ahead === undefined ? undefined : integerOf(ahead, 'next_due_at') - now }
}
