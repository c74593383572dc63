import { firstRow, integerOf, type Sql, type SqlDialect } from '@enablement/core/sql'

/**
 * The store's clock, epoch milliseconds. Read it after the locks: on Postgres a clock from before the wait for them is that
 * of another's unit.
 */
export function* storeNow(dialect: SqlDialect): Sql<number> {
  return integerOf((yield* firstRow(`select ${dialect.now} as now`)) ?? {}, 'now')
}
