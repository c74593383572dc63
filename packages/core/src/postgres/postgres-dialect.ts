import type { SqlDialect } from '../sql/sql-database.ts'

/** `clock_timestamp()` goes on while a unit waits for a lock; `now()` stands still at BEGIN and would be too old. */
export const postgresDialect: SqlDialect = {
  name: 'postgres',
  skipLocked: ' for update skip locked',
  forUpdate: ' for update',
  now: 'floor(extract(epoch from clock_timestamp()) * 1000)::bigint'
}
