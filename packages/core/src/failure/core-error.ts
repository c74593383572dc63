import { SuiteError } from './suite-error.ts'

/** One reason why a value was refused: where in it, and why. Never the value itself, which may be a secret. */
export interface Issue {
  /** Dotted path inside the refused value, empty for the value as a whole. */
  readonly path: string
  readonly message: string
}

/** What goes wrong in core, by code. */
export type CoreErrorTable = {
  /** A factory or a call got options that are unknown, missing, of the wrong type or out of range. */
  readonly INVALID_OPTIONS: { readonly subject: string; readonly issues: readonly Issue[] }
  /** A duration is negative, NaN or infinite. */
  readonly INVALID_DURATION: { readonly count: number; readonly unit: string }
  /** A value has no canonical JSON form: a cycle, a non-finite number, a lone surrogate, too deep or too large. */
  readonly NOT_JSON: { readonly path: string; readonly reason: string }
  /** A queue or a map is full. Nothing was taken in; try again when `waiting` has gone down. */
  readonly OVERLOADED: { readonly what: string; readonly waiting: number; readonly limit: number }
  /** The breaker let nothing through: the work was not begun. Asking again before `retryAfterMs` is in vain. */
  readonly CIRCUIT_OPEN: {
    readonly breaker: string
    readonly reason: 'open' | 'probing' | 'ramping' | 'forced-open'
    readonly retryAfterMs: number
  }
  /**
   * The work had not ended after `timeoutMs`; whether it had an effect is unknown. The timer itself fired `lateMs` after
   * that, which is how long the event loop had been stalled.
   */
  readonly TIMED_OUT: { readonly timeoutMs: number; readonly lateMs: number }
  /** The token bucket was empty: the work was not begun. There will be a token in `retryAfterMs`, if nobody takes it. */
  readonly THROTTLED: { readonly retryAfterMs: number }
  /** The thing was closed before or during the call. */
  readonly CLOSED: { readonly what: string }
  /** A lock was lost while it was held: its lease ran out, or someone else has it. Its holder must stop. */
  readonly LOCK_LOST: { readonly lock: string; readonly fence: number; readonly heldMs: number }
  /** A store did not answer, or refused to. The unit or script had no effect. */
  readonly STORE_UNAVAILABLE: { readonly store: string; readonly operation: string }
  /**
   * The reply to a COMMIT or to a Redis script was lost: the unit or script took effect wholly or not at all, and which
   * is unknown. Repeat it under the same idempotency key.
   */
  readonly COMMIT_UNKNOWN: { readonly store: string }
  /** A unit broke a uniqueness, foreign-key or check constraint, and was rolled back. */
  readonly CONSTRAINT_VIOLATED: { readonly store: string; readonly constraint: string }
  /** A statement was wrong (syntax, unknown table, type); the unit was rolled back. */
  readonly STATEMENT_FAILED: { readonly store: string; readonly statement: string }
  /** A store's bytes are not what was written: not a database, damaged pages, a row of the wrong shape. */
  readonly STORE_DAMAGED: { readonly store: string; readonly reason: string }
  /** The database was written by a newer version of the component than this one. */
  readonly SCHEMA_TOO_NEW: { readonly component: string; readonly found: number; readonly supported: number }
  /** A migration that the database has already taken differs from the one in this version. */
  readonly SCHEMA_DRIFTED: { readonly component: string; readonly version: number }
  /**
   * A Redis script ended with an error: `reply` is its code, such as `ERR` or `WRONGTYPE`. Redis keeps what a script wrote
   * before it failed, which is why scripts check everything first and write last.
   */
  readonly SCRIPT_FAILED: { readonly script: string; readonly reply: string }
  /**
   * A simulation did not end as it should; `trace` has its last lines. Run it again with `seed`, and it fails the same way.
   * `rejection`: of a promise that nobody awaited. `deadlock`: nothing can happen any more. `runaway`: too many events.
   */
  readonly SIMULATION_FAILED: {
    readonly seed: number
    readonly reason: 'run' | 'node' | 'rejection' | 'deadlock' | 'runaway'
    readonly events: number
    readonly elapsedMs: number
    readonly trace: readonly string[]
  }
  /** A store is set up in a way that would lose data silently, such as a Redis that evicts keys. */
  readonly STORE_UNSUITABLE: { readonly store: string; readonly setting: string; readonly found: string }
}

/** An error of `@enablement/core`. */
export class CoreError<Code extends keyof CoreErrorTable = keyof CoreErrorTable> extends SuiteError<
  CoreErrorTable,
  Code
> {
  override readonly name = 'CoreError'
}
