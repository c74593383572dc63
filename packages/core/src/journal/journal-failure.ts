import { CoreError } from '../failure/core-error.ts'
import { isSuiteError } from '../failure/suite-error.ts'

/** How this store is named in errors. */
export const JOURNAL = 'journal'

/** The file system refused or failed: `operation` had no effect on the records. Errors of this package pass unchanged. */
export function unavailable(operation: string, cause: unknown): unknown {
  if (isSuiteError(cause)) return cause
  const message = `the journal cannot ${operation}: ${causeText(cause)}`
  return new CoreError('STORE_UNAVAILABLE', message, { store: JOURNAL, operation }, { cause })
}

/** The bytes are not what was written. `reason` names the segment and the bytes. */
export function damaged(reason: string): CoreError {
  return new CoreError('STORE_DAMAGED', `the journal is damaged: ${reason}`, { store: JOURNAL, reason })
}

export function closed(): CoreError {
  return new CoreError('CLOSED', 'the journal is closed', { what: JOURNAL })
}

export function overloaded(what: string, waiting: number, limit: number): CoreError {
  const message = `the ${what} of the journal would hold more than ${limit}; it holds ${waiting}`
  return new CoreError('OVERLOADED', message, { what: `journal ${what}`, waiting, limit })
}

/** Out of reach by honest use: 2^64 records or 2^32 openings. */
export function exhausted(): CoreError {
  const message = 'the journal has no sequence or epoch left; trimming gives none back'
  return new CoreError('OVERLOADED', message, { what: 'journal numbering', waiting: 0, limit: 0 })
}

/** Somebody has the folder open. */
export function taken(cause?: unknown): CoreError {
  const message = 'the journal cannot open its folder: another journal, here or in another process, has it open'
  return new CoreError('STORE_UNAVAILABLE', message, { store: JOURNAL, operation: 'open' }, { cause })
}

export function refused(subject: string, path: string, message: string): CoreError {
  const issues = [{ path, message }]
  return new CoreError('INVALID_OPTIONS', `${subject} refused its options: ${path}: ${message}`, { subject, issues })
}

/** The system's code and call, such as `ENOSPC in write`; its message would repeat the path, which may name a customer. */
function causeText(cause: unknown): string {
  const { code, syscall } = (typeof cause === 'object' && cause !== null ? cause : {}) as {
    readonly code?: unknown
    readonly syscall?: unknown
  }
  if (typeof code !== 'string') return 'an unexpected failure'
  return typeof syscall === 'string' ? `${code} in ${syscall}` : code
}
