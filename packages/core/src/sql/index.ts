export { type JsonColumn, type JsonColumns, type JsonRow, type JsonRows, jsonRows } from './json-rows.ts'
export { migrate } from './migrate.ts'
export type { Migration, Schema } from './migration.ts'
export type {
  Sql,
  SqlDatabase,
  SqlDialect,
  SqlResult,
  SqlRow,
  SqlStatement,
  SqlSupports,
  SqlValue
} from './sql-database.ts'
export {
  bytesOf,
  changes,
  execute,
  firstRow,
  integerOf,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  textOf
} from './statement.ts'
