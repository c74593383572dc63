import { CoreError } from '../failure/core-error.ts'
import type { Sql, SqlResult, SqlRow, SqlValue } from './sql-database.ts'

/** Runs a statement and gives its whole result. */
export function* execute(text: string, ...values: readonly SqlValue[]): Sql<SqlResult> {
  return yield { text, values }
}

/** Runs a query and gives its rows. */
export function* rows(text: string, ...values: readonly SqlValue[]): Sql<readonly SqlRow[]> {
  return (yield { text, values }).rows
}

/** Runs a query that finds at most one row. */
export function* firstRow(text: string, ...values: readonly SqlValue[]): Sql<SqlRow | undefined> {
  return (yield { text, values }).rows[0]
}

/** Runs a statement and gives the number of rows it changed. */
export function* changes(text: string, ...values: readonly SqlValue[]): Sql<number> {
  return (yield { text, values }).changes
}

/** The column's text. Throws `STORE_DAMAGED` when it is anything else. */
export function textOf(row: SqlRow, column: string): string {
  const value = row[column]
  if (typeof value !== 'string') throw wrongShape(column, 'text', value)
  return value
}

/** The column's text, or undefined for NULL. */
export function optionalTextOf(row: SqlRow, column: string): string | undefined {
  return row[column] === null ? undefined : textOf(row, column)
}

/** The column's integer within +-(2^53 - 1). Throws `STORE_DAMAGED` when it is anything else. */
export function integerOf(row: SqlRow, column: string): number {
  const value = row[column]
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw wrongShape(column, 'a safe integer', value)
  return value
}

/** The column's integer, or undefined for NULL. */
export function optionalIntegerOf(row: SqlRow, column: string): number | undefined {
  return row[column] === null ? undefined : integerOf(row, column)
}

/** The column's bytes. Throws `STORE_DAMAGED` when it is anything else. */
export function bytesOf(row: SqlRow, column: string): Uint8Array {
  const value = row[column]
  if (!(value instanceof Uint8Array)) throw wrongShape(column, 'bytes', value)
  return value
}

function wrongShape(column: string, expected: string, found: SqlValue | undefined): CoreError<'STORE_DAMAGED'> {
  const kind = found === null ? 'NULL' : found === undefined ? 'no such column' : typeof found
  return new CoreError('STORE_DAMAGED', `column ${column} should hold ${expected} and holds ${kind}`, {
    store: 'sql',
    reason: `column ${column} should hold ${expected} and holds ${kind}`
  })
}
