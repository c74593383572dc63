import { CoreError } from '../failure/core-error.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { excerptOf } from '../sql/unit.ts'

/** How this store is named in errors. */
export const SQLITE = 'sqlite'

/** Primary result codes, https://sqlite.org/rescode.html: the low byte of `errcode`. */
const BUSY = 5
const LOCKED = 6
const READ_ONLY = 8
const CORRUPT = 11
const FULL = 13
const CANNOT_OPEN = 14
const CONSTRAINT = 19
const NOT_A_DATABASE = 26

/** PERM, NOMEM, IOERR, PROTOCOL, NOLFS and AUTH say as little about the statement as locks, a full disk or a missing file. */
const UNAVAILABLE = new Set([3, BUSY, LOCKED, 7, READ_ONLY, 10, FULL, CANNOT_OPEN, 15, 22, 23])

/**
 * Failures of COMMIT that leave no doubt. Locks, read-only files and constraints are found out before anything is
 * written; a full disk and a failed write come before the log's commit frame, without which the
 * next opening ignores the frames before it (https://sqlite.org/walformat.html §4). A failed sync comes after it.
 * Damage is reported as damage, whatever else is in doubt.
 */
const COMMIT_REFUSALS = new Set([BUSY, LOCKED, READ_ONLY, CORRUPT, FULL, CONSTRAINT, NOT_A_DATABASE])

/** SQLITE_CONSTRAINT_DATATYPE: a strict table was given a value of another type, which Postgres calls a bad statement. */
const CONSTRAINT_DATATYPE = 3_091

/** SQLITE_IOERR_WRITE. */
const IOERR_WRITE = 778

interface SqliteError extends Error {
  readonly code: 'ERR_SQLITE_ERROR'
  readonly errcode: number
}

function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
}

/** Whether another connection holds the lock: worth waiting for. */
export function isBusy(error: unknown): boolean {
  return isSqliteError(error) && ((error.errcode & 0xff) === BUSY || (error.errcode & 0xff) === LOCKED)
}

/** Whether a constraint was violated, which at COMMIT means a deferred one. */
export function isConstraint(error: unknown): boolean {
  return isSqliteError(error) && (error.errcode & 0xff) === CONSTRAINT
}

/** Whether a COMMIT that failed so has certainly not taken place; the next opening of the file may disagree otherwise. */
export function isCommitRefusal(error: unknown): boolean {
  if (!isSqliteError(error)) return false
  return error.errcode === IOERR_WRITE || COMMIT_REFUSALS.has(error.errcode & 0xff)
}

/** What `node:sqlite` threw, in core's terms. Errors that are not its own (a unit's) pass unchanged. */
export function sqliteFailure(error: unknown, operation: string, text = ''): unknown {
  if (isSuiteError(error) || !isSqliteError(error)) return error
  const statement = excerptOf(text)
  const primary = error.errcode & 0xff
  if (primary === CORRUPT || primary === NOT_A_DATABASE) {
    const reason = primary === CORRUPT ? 'the file is damaged' : 'the file is not a SQLite database'
    return new CoreError(
      'STORE_DAMAGED',
      `sqlite cannot ${operation}: ${reason}`,
      { store: SQLITE, reason },
      { cause: error }
    )
  }
  if (UNAVAILABLE.has(primary)) {
    const hint = primary === CANNOT_OPEN ? '; its folder must exist and be writable' : ''
    const message = `sqlite cannot ${operation}: ${error.message} (result code ${error.errcode})${hint}`
    return new CoreError('STORE_UNAVAILABLE', message, { store: SQLITE, operation }, { cause: error })
  }
  if (primary === CONSTRAINT && error.errcode !== CONSTRAINT_DATATYPE) {
    const constraint = error.message.split('constraint failed: ')[1] ?? error.message
    return new CoreError(
      'CONSTRAINT_VIOLATED',
      `${error.message} in: ${statement}`,
      { store: SQLITE, constraint },
      { cause: error }
    )
  }
  const hint = error.message.startsWith('no such table') ? ' (has migrate(db, schemas) been called?)' : ''
  const message = `${error.message}${hint} in: ${statement}`
  return new CoreError('STATEMENT_FAILED', message, { store: SQLITE, statement }, { cause: error })
}
