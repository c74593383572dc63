import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { SqlResult, SqlStatement, SqlValue } from '../sql/sql-database.ts'
import { checkText, readText, type StatementText, TextCache } from '../sql/statement-text.ts'
import { integerValue, misuse } from '../sql/unit.ts'
import { SQLITE, sqliteFailure } from './sqlite-failure.ts'

/** Texts kept compiled: stores have fixed texts, a few hundred in all. */
const COMPILED_MAX = 512

/** The verbs after which SQLite's count of changed rows is this statement's; after any other it is an earlier one's. */
const CHANGING = new Set(['insert', 'update', 'delete', 'replace', 'with'])

interface Compiled {
  readonly statement: StatementSync
  /** Whether it has result columns. */
  readonly answers: boolean
  /** Whether the rows that it gives are those that it changed. */
  readonly returning: boolean
  /** Whether SQLite's count of changed rows is about it. */
  readonly counts: boolean
}

/** Compiles each text once and runs it. */
export class StatementCache {
  readonly #texts = new TextCache(COMPILED_MAX, readText)
  readonly #compiled: TextCache<Compiled>

  constructor(database: DatabaseSync) {
    this.#compiled = new TextCache(COMPILED_MAX, (text) => compile(database, text, this.#texts.get(text)))
  }

  perform(statement: SqlStatement): SqlResult {
    try {
      checkText(SQLITE, statement, this.#texts.get(statement.text))
      const compiled = this.#compiled.get(statement.text)
      const values = statement.values.map(bound)
      if (!compiled.answers) {
        const { changes } = compiled.statement.run(...values)
        return { rows: [], changes: compiled.counts ? Number(changes) : 0 }
      }
      const rows = compiled.statement.all(...values) as Record<string, SqlValue>[]
      for (const row of rows) narrow(row)
      return { rows, changes: compiled.returning ? rows.length : 0 }
    } catch (error) {
      throw sqliteFailure(error, 'run a statement', statement.text)
    }
  }
}

function compile(database: DatabaseSync, text: string, { verb, returning }: StatementText): Compiled {
  const statement = database.prepare(text)
  // SQLite compiles the first statement of a text and says nothing of the rest.
  if (readText(text.slice(statement.sourceSQL.length)).verb !== '') {
    throw misuse(SQLITE, text, 'more than one statement in a text')
  }
  // Without this, an integer beyond 2^53 - 1 throws after its statement has taken effect. Reading all as bigints and
  // narrowing them costs a quarter more for a row of three columns, 0.2 of 0.8 µs.
  statement.setReadBigInts(true)
  return { statement, returning, answers: statement.columns().length > 0, counts: CHANGING.has(verb) }
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
