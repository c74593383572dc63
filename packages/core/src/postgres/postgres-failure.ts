import { CoreError } from '../failure/core-error.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { excerptOf } from '../sql/unit.ts'

/** How this store is named in errors; host and user stay out. */
export const POSTGRES = 'postgres'

/** SQLSTATE classes that say nothing about the statement: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const CONNECTION = '08'
const RESOURCES = '53'
const INTERVENTION = '57'
const SYSTEM = '58'
const CORRUPTED = 'XX00'
const INTEGRITY = '23'
/** Data exceptions quote the offending value in their message. */
const DATA = '22'

const READ_ONLY = '25006'
const LOCK_TIMEOUT = '55P03'
const NO_SUCH_TABLE = '42P01'
const STALE_PLAN = '0A000'
const RETRIED = new Set(['40001', '40P01'])

/** The five characters of a server's own error, or undefined when no server said anything. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  // Node's system errors have codes too (EPIPE is five letters); what the server sent has a severity.
  return /^[0-9A-Z]{5}$/.test(error.code) && 'severity' in error ? error.code : undefined
}

/** Whether the unit met another one, was rolled back whole and is worth running again. */
export function isContention(error: unknown): boolean {
  return RETRIED.has(sqlStateOf(error) ?? '')
}

/** Whether a migration has changed a table under a prepared statement of this connection, which has to go. */
export function isStalePlan(error: unknown): boolean {
  return sqlStateOf(error) === STALE_PLAN && (error as Error).message.includes('cached plan')
}

/** Whether nothing more can be expected of the connection: it broke, or the server is ending it. */
export function isConnectionLost(error: unknown): boolean {
  if (isSuiteError(error)) return false
  const state = sqlStateOf(error)
  if (state === undefined) return true
  // 57014 cancels one statement; the rest of the class ends the session.
  return state.startsWith(CONNECTION) || (state.startsWith(INTERVENTION) && state !== '57014')
}

/** What a driver threw, in core's terms. `text` is the statement, empty where there was none, as in connecting. */
export function postgresFailure(error: unknown, operation: string, text = '', store = POSTGRES): unknown {
  if (isSuiteError(error)) return error
  const state = sqlStateOf(error)
  const cause = redacted(error)
  if (state?.startsWith(CORRUPTED) === true && state !== 'XX000') {
    const reason = `SQLSTATE ${state}`
    return new CoreError('STORE_DAMAGED', `${store} reports damage: ${reason}`, { store, reason }, { cause })
  }
  // Without a statement none can be to blame: the password is wrong, or the database does not exist.
  if (state === undefined || text === '' || isConnectionLost(error) || isUnavailable(state)) {
    const message = `${store} cannot ${operation}${reasonOf(error, state)}`
    return new CoreError('STORE_UNAVAILABLE', message, { store, operation }, { cause })
  }
  const statement = excerptOf(text)
  if (state.startsWith(INTEGRITY)) {
    const named = (error as { readonly constraint?: unknown; readonly column?: unknown }).constraint
    const column = (error as { readonly column?: unknown }).column
    const constraint = typeof named === 'string' ? named : typeof column === 'string' ? column : state
    const message = `constraint ${constraint} was violated (SQLSTATE ${state}) in: ${statement}`
    return new CoreError('CONSTRAINT_VIOLATED', message, { store, constraint }, { cause })
  }
  const hint = state === NO_SUCH_TABLE ? ' (has migrate(db, schemas) been called?)' : ''
  const message = `${cause.message}${hint} in: ${statement}`
  return new CoreError('STATEMENT_FAILED', message, { store, statement }, { cause })
}

function isUnavailable(state: string): boolean {
  return (
    state.startsWith(RESOURCES) ||
    state.startsWith(INTERVENTION) ||
    state.startsWith(SYSTEM) ||
    RETRIED.has(state) ||
    state === READ_ONLY ||
    state === LOCK_TIMEOUT
  )
}

function reasonOf(error: unknown, state: string | undefined): string {
  if (state !== undefined) return `: SQLSTATE ${state}`
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? `: ${code}` : ''
}

/**
 * The driver's error without what could be a secret: Postgres puts values into `detail` and `where`, data exceptions
 * put them into the message, and PGlite keeps the parameters.
 */
export function redacted(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('a driver threw something that is not an error')
  const state = sqlStateOf(error)
  const quotesValues = state?.startsWith(DATA) === true
  const cause = new Error(quotesValues ? `a value does not fit (SQLSTATE ${state})` : error.message)
  if ('code' in error) Object.defineProperty(cause, 'code', { value: error.code, enumerable: true })
  return cause
}
