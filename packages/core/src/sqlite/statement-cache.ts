import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { SqlResult, SqlRow, SqlStatement, SqlValue } from '../sql/sql-database.ts'
import { checkPlaceholders, readText, type StatementText, TextCache } from '../sql/statement-text.ts'
import { integerValue, misuse } from '../sql/unit.ts'
import { SQLITE, sqliteFailure } from './sqlite-failure.ts'

/** Texts kept compiled: stores have fixed texts, a few hundred in all. */
const COMPILED_MAX = 512

/** The verbs after which SQLite's count of changed rows is this statement's; after any other it is an earlier one's. */
const CHANGING = new Set(['insert', 'update', 'delete', 'replace', 'with'])

interface Compiled extends StatementText {
  readonly statement: StatementSync
  readonly answers: boolean
}

/** Compiles each text once and runs it. */
export class StatementCache {
  readonly #compiled: TextCache<Compiled>

  constructor(database: DatabaseSync) {
    this.#compiled = new TextCache(COMPILED_MAX, (text) => compile(database, text))
  }

  perform(statement: SqlStatement): SqlResult {
    try {
      const compiled = this.#compiled.get(statement.text)
      checkPlaceholders(SQLITE, statement, compiled)
      const values = statement.values.map(bound)
      if (!compiled.answers) {
        const { changes } = compiled.statement.run(...values)
        return { rows: [], changes: CHANGING.has(compiled.verb) ? Number(changes) : 0 }
      }
      const rows = compiled.statement.all(...values) as Record<string, SqlValue>[]
      for (const row of rows) narrow(row)
      return { rows: rows as SqlRow[], changes: compiled.returning ? rows.length : 0 }
    } catch (error) {
      throw sqliteFailure(error, 'run a statement', statement.text)
    }
  }
}

function compile(database: DatabaseSync, text: string): Compiled {
  const statement = database.prepare(text)
  // SQLite compiles the first statement of a text and forgets the rest.
  const rest = text.slice(statement.sourceSQL.length)
  if (readText(rest).verb !== '') throw misuse(SQLITE, text, 'more than one statement in a text')
  // Without this, an integer beyond 2^53 - 1 throws after its statement has taken effect. Reading all as bigints and
  // narrowing them costs a quarter more for a row of three columns, 0.2 of 0.8 µs.
  statement.setReadBigInts(true)
  return { ...readText(text), statement, answers: statement.columns().length > 0 }
}

/** `node:sqlite` binds every number as a floating-point one, by which `? || 'x'` is `5.0x` and `? / 2` has a half. */
function bound(value: SqlValue): SqlValue {
  return Number.isInteger(value) ? BigInt(value as number) : value
}

function narrow(row: Record<string, SqlValue>): void {
  for (const column in row) {
    const value = row[column]
    if (typeof value === 'bigint') row[column] = integerValue(value)
  }
}
