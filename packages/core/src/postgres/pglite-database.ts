import { CoreError } from '../failure/core-error.ts'
import type { Sql, SqlDatabase, SqlResult, SqlStatement } from '../sql/sql-database.ts'
import { checkText, readText, TextCache } from '../sql/statement-text.ts'
import { driveUnit } from '../sql/unit.ts'
import { createUnitGate } from '../sql/unit-gate.ts'
import { createSemaphore } from '../turn/semaphore.ts'
import { postgresDialect } from './postgres-dialect.ts'
import { postgresFailure, redacted, sqlStateOf } from './postgres-failure.ts'
import { readers, writeValue } from './wire-value.ts'

const PGLITE = 'pglite'

/** Units that may wait for PGlite's only connection. */
const UNITS_MAX = 10_000
const TEXTS_MAX = 2_048

/** The part of a PGlite transaction that units use. */
export interface PgliteTransaction {
  query(
    text: string,
    values?: unknown[],
    options?: { parsers?: Record<number, (text: string) => unknown> }
  ): Promise<{ rows: unknown[]; affectedRows?: number }>
}

/** The part of PGlite that `pgliteDatabase` uses. */
export interface PgliteLike {
  readonly dataDir?: string
  transaction<T>(work: (transaction: PgliteTransaction) => Promise<T>): Promise<T>
  syncToFs(): Promise<void>
}

/**
 * Postgres inside this process. It has one connection, so units run one after another.
 *
 * PGlite runs with `fsync` off: what it has committed to a folder survives the process, not the machine, and without a
 * `dataDir` it survives nothing. Its `transaction` does not flush the file systems that need it (IndexedDB), so each
 * unit does; when that fails, the answer is `COMMIT_UNKNOWN`. The instance stays the caller's: `close` does not close it.
 */
export function pgliteDatabase(pglite: PgliteLike): SqlDatabase {
  const inMemory = pglite.dataDir === undefined || pglite.dataDir === '' || pglite.dataDir.startsWith('memory://')
  const texts = new TextCache(TEXTS_MAX, readText)
  const gate = createUnitGate(PGLITE, UNITS_MAX, () => {})
  // PGlite has a queue of its own, but not one that a signal could leave.
  const turns = createSemaphore({ places: 1, waitingMax: UNITS_MAX })

  const perform = async (transaction: PgliteTransaction, statement: SqlStatement): Promise<SqlResult> => {
    const text = texts.get(statement.text)
    checkText(PGLITE, statement, text)
    try {
      const values = statement.values.map(writeValue)
      const { rows, affectedRows } = await transaction.query(text.numbered, values, { parsers: { ...readers } })
      return { rows: rows as SqlResult['rows'], changes: affectedRows ?? 0 }
    } catch (error) {
      throw postgresFailure(error, 'run a statement', statement.text, PGLITE)
    }
  }

  const run = async <T>(work: () => Sql<T>): Promise<T> => {
    let finished = false
    let failure: { readonly error: unknown } | undefined
    let value: T
    try {
      value = await pglite.transaction(async (transaction) => {
        try {
          const result = await driveUnit(PGLITE, work, (statement) => perform(transaction, statement))
          finished = true
          return result
        } catch (error) {
          failure = { error }
          throw error
        }
      })
    } catch (error) {
      // A rollback that fails in its turn would hide why there had to be one.
      if (failure !== undefined) throw failure.error
      if (finished && sqlStateOf(error) === undefined) throw commitUnknown(error)
      throw finished
        ? postgresFailure(error, 'commit', 'commit', PGLITE)
        : postgresFailure(error, 'begin a transaction', '', PGLITE)
    }
    if (!inMemory) {
      await pglite.syncToFs().catch((error: unknown) => {
        throw commitUnknown(error)
      })
    }
    return value
  }
  return {
    dialect: postgresDialect,
    supports: { durable: inMemory ? 'none' : 'process', concurrentWriters: false, blocksEventLoop: true },
    run: (work, options) => gate.admit(() => turns.run(() => run(work), options)),
    close: () => gate.close(),
    [Symbol.asyncDispose]: () => gate.close()
  }
}

function commitUnknown(error: unknown): CoreError<'COMMIT_UNKNOWN'> {
  const message = 'pglite failed while it committed; the unit took effect wholly or not at all'
  return new CoreError('COMMIT_UNKNOWN', message, { store: PGLITE }, { cause: redacted(error) })
}
