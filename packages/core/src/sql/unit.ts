import { CoreError } from '../failure/core-error.ts'
import type { Sql, SqlResult, SqlStatement, SqlValue } from './sql-database.ts'

/**
 * Statements that one unit may run. Honest units run tens, migrations hundreds; a generator that never ends would
 * otherwise hold the only writer, and on SQLite the event loop, for good.
 */
const STATEMENTS_MAX = 100_000

/** What a statement's text may add to an error: enough to find it in the code. */
const EXCERPT_CHARACTERS = 200

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n

/** The beginning of a statement's text, on one line. Values are never part of it. */
export function excerptOf(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length <= EXCERPT_CHARACTERS ? line : `${line.slice(0, EXCERPT_CHARACTERS - 1)}…`
}

/** A unit that is being stepped through: both kinds of driver take the same turns. */
interface Stepping<T> {
  readonly generator: Sql<T>
  turn: IteratorResult<SqlStatement, T>
  statements: number
}

/** Runs a unit to its end on a store that answers at once. Throws what the unit or its first failing statement threw. */
export function runUnit<T>(store: string, work: () => Sql<T>, perform: (statement: SqlStatement) => SqlResult): T {
  const stepping = begin(store, work)
  while (stepping.turn.done !== true) {
    let result: SqlResult
    try {
      result = perform(next(store, stepping))
    } catch (error) {
      fail(stepping, error)
    }
    stepping.turn = stepping.generator.next(result)
  }
  return stepping.turn.value
}

/** Runs a unit to its end on a store that has to be awaited. Throws what the unit or its first failing statement threw. */
export async function driveUnit<T>(
  store: string,
  work: () => Sql<T>,
  perform: (statement: SqlStatement) => Promise<SqlResult>
): Promise<T> {
  const stepping = begin(store, work)
  while (stepping.turn.done !== true) {
    let result: SqlResult
    try {
      result = await perform(next(store, stepping))
    } catch (error) {
      fail(stepping, error)
    }
    stepping.turn = stepping.generator.next(result)
  }
  return stepping.turn.value
}

function begin<T>(store: string, work: () => Sql<T>): Stepping<T> {
  const generator: unknown = work()
  if (typeof generator !== 'object' || generator === null || !('next' in generator) || !('throw' in generator)) {
    throw misuse(store, '', 'a unit must be a generator function: db.run(function* () { … })')
  }
  const unit = generator as Sql<T>
  return { generator: unit, turn: unit.next(), statements: 0 }
}

function next<T>(store: string, stepping: Stepping<T>): SqlStatement {
  stepping.statements += 1
  const statement = stepping.turn.value as SqlStatement
  checkStatement(store, statement)
  if (stepping.statements > STATEMENTS_MAX) {
    throw misuse(store, statement.text, `a unit ran more than ${STATEMENTS_MAX} statements`)
  }
  return statement
}

/**
 * Tells the unit, so that its `finally` blocks run, and fails whatever it makes of that: Postgres answers nothing more
 * in a transaction that met an error, and a unit that goes on after one must not pass on SQLite either.
 */
function fail<T>(stepping: Stepping<T>, error: unknown): never {
  const turn = stepping.generator.throw(error)
  if (turn.done !== true) stepping.generator.return(undefined as T)
  throw error
}

function checkStatement(store: string, statement: SqlStatement): void {
  if (typeof statement?.text !== 'string' || !Array.isArray(statement.values)) {
    throw misuse(store, '', 'a unit yielded something that is not a statement: use yield* with execute, rows, firstRow')
  }
  statement.values.forEach((value: unknown, index: number) => {
    const reason = refusal(value)
    if (reason !== undefined) throw misuse(store, statement.text, `value ${index + 1} is ${reason}`)
  })
}

/** Why a value cannot travel: the stores would otherwise refuse it each in its own way, or store something else. */
function refusal(value: unknown): string | undefined {
  if (value === null || value instanceof Uint8Array) return undefined
  if (typeof value === 'string') {
    if (value.includes('\0')) return 'text with a NUL character, which Postgres cannot hold'
    return value.isWellFormed() ? undefined : 'text with a lone surrogate, which has no UTF-8'
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return `the number ${value}`
    const exact = !Number.isInteger(value) || Number.isSafeInteger(value)
    return exact ? undefined : 'an integer beyond 2^53 - 1 that is not a bigint'
  }
  if (typeof value === 'bigint') {
    return value < INT64_MIN || value > INT64_MAX ? 'a bigint beyond 64 bits' : undefined
  }
  return typeof value === 'boolean' ? 'a boolean; write 0 or 1' : `of type ${typeof value}`
}

/** An integer as rows carry it: a number while it is safe, a bigint beyond. */
export function integerValue(value: bigint): SqlValue {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** A `STATEMENT_FAILED` for a unit that breaks the port's rules, whatever the store would have said. */
export function misuse(store: string, text: string, reason: string): CoreError<'STATEMENT_FAILED'> {
  const statement = excerptOf(text)
  return new CoreError('STATEMENT_FAILED', `${reason}${statement === '' ? '' : `: ${statement}`}`, { store, statement })
}
