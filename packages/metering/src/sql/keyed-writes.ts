import { execute, type JsonColumns, type JsonRow, jsonRows, type Sql, type SqlDialect } from '@enablement/core/sql'

/** How the rows of a table are written whose key is the tenant and the first two of its other columns. */
export interface KeyedWrites<Columns extends JsonColumns> {
  /** Inserts the rows, or puts them in the place of those with their keys: one statement, none for no rows. */
  put(tenant: string, rows: readonly JsonRow<Columns>[]): Sql<void>
  /** Deletes up to `limit` rows, of any tenant, that were over at `now`. Those that another unit has locked are left to it. */
  forget(now: number, limit: number): Sql<void>
}

/** The statements for `table`; `overAt` is the column that says from when on a row is over. */
export function keyedWrites<const Columns extends JsonColumns>(
  dialect: SqlDialect,
  table: string,
  columns: Columns,
  overAt: string
): KeyedWrites<Columns> {
  const given = jsonRows(dialect, columns)
  const names = Object.keys(columns)
  const key = ['tenant', ...names.slice(0, 2)].join(', ')
  const replaced = names.slice(2).map((name) => `${name} = excluded.${name}`)
  // `where true` tells SQLite that the `on` which follows belongs to no join.
  const putting = `insert into ${table}(tenant, ${names.join(', ')})
    select cast(? as text), ${names.map((name) => `given.${name}`).join(', ')} from ${given.select} as given where true
    on conflict (${key}) do update set ${replaced.join(', ')}`
  const forgetting = `delete from ${table} where (${key}) in (
    select ${key} from ${table} where ${overAt} <= ? order by ${overAt} limit ?${dialect.skipLocked})`
  return {
    *put(tenant, rows) {
      if (rows.length > 0) yield* execute(putting, tenant, given.parameter(rows))
    },
    *forget(now, limit) {
      if (limit > 0) yield* execute(forgetting, now, limit)
    }
  }
}
