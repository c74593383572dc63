/**
 * What a column holds and a `?` takes. Booleans are 0 and 1; integers beyond 2^53 - 1 travel as bigint, 64 bits at most.
 * Text is well-formed and without NUL, which Postgres cannot hold. Anything else fails as `STATEMENT_FAILED`.
 */
export type SqlValue = string | number | bigint | Uint8Array | null

/** A row, by column name. */
export type SqlRow = Readonly<Record<string, SqlValue>>

/**
 * One statement, with `?` for each value in every dialect. Texts are part of the code: values are always passed, never
 * written into them, and the beginning of a text appears in error messages.
 */
export interface SqlStatement {
  readonly text: string
  readonly values: readonly SqlValue[]
}

/** What a statement gave: the rows it returned, and how many rows it inserted, updated or deleted (none by reading). */
export interface SqlResult {
  readonly rows: readonly SqlRow[]
  readonly changes: number
}

/**
 * A unit of work, or a part of one: it yields statements and is sent their results. Being a generator, it cannot await
 * anything inside the transaction, and it can be run again from the start when the store asks for a retry; parts
 * compose with `yield*`.
 */
export type Sql<T> = Generator<SqlStatement, T, SqlResult>

/** The few fragments in which the dialects differ. */
export interface SqlDialect {
  readonly name: 'sqlite' | 'postgres'
  /**
   * Appended to a select: locks its rows until the unit ends and skips those that another unit has locked. Empty where
   * one writer runs at a time.
   */
  readonly skipLocked: string
  /** Appended to a select: locks its rows until the unit ends. Empty where one writer runs at a time. */
  readonly forUpdate: string
  /** An expression: the store's own wall clock in epoch milliseconds, which decides where processes race on a deadline. */
  readonly now: string
}

/** What a database can promise. */
export interface SqlSupports {
  /** What a committed unit survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
  /** Whether several units run at the same time. */
  readonly concurrentWriters: boolean
  /** Whether a unit runs on this thread without yielding. */
  readonly blocksEventLoop: boolean
}

/** The one SQL port. SQLite, Postgres and PGlite answer it with the same store texts. */
export interface SqlDatabase extends AsyncDisposable {
  readonly dialect: SqlDialect
  readonly supports: SqlSupports
  /**
   * Runs one transaction, READ COMMITTED or stronger; `work` may be called again after a conflict, so it must not
   * touch anything but its statements. Resolves after COMMIT. What `work` throws rolls everything back and is thrown.
   * After a statement has failed nothing of the unit can be committed, whatever it catches: an expected conflict is
   * answered with `on conflict`, not with `catch`.
   *
   * Throws `STORE_UNAVAILABLE` (no effect), `COMMIT_UNKNOWN` (the reply to COMMIT was lost: wholly done or not at all),
   * `CONSTRAINT_VIOLATED`, `STATEMENT_FAILED`, `STORE_DAMAGED`, `OVERLOADED`, `CLOSED`, and the signal's reason when it
   * aborts before the unit has begun.
   */
  run<T>(work: () => Sql<T>, options?: { readonly signal?: AbortSignal }): Promise<T>
  /** Waits for the units under way, then lets the connection go. Units started later throw `CLOSED`. */
  close(): Promise<void>
}
