import type { Sql, SqlStatement } from '@enablement/core/sql'

const NO_STATEMENTS: readonly SqlStatement[] = []

/** A part of a unit that asks nothing: its value is there. */
export function* atOnce<T>(value: T): Sql<T> {
  yield* NO_STATEMENTS
  return value
}
