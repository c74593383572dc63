import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Sql, SqlDatabase, SqlResult, SqlStatement } from '../sql/sql-database.ts'
import { driveUnit } from '../sql/unit.ts'
import { createUnitGate } from '../sql/unit-gate.ts'
import { sleep } from '../time/sleep.ts'
import type { PgPool, PgPooledClient } from './pg-pool.ts'
import { PgStatements } from './pg-statements.ts'
import { postgresDialect } from './postgres-dialect.ts'
import { isConnectionLost, isContention, isStalePlan, POSTGRES, postgresFailure, redacted } from './postgres-failure.ts'

/** Times a unit is run before contention is reported; the pauses between them add up to 1.6 s at most. */
const ATTEMPTS_MAX = 10

/** The longest pause before the second attempt; it doubles from one to the next, and each is drawn from [0, longest). */
const PAUSE_MS = 5
const PAUSE_MAX_MS = 500

/** Units under way or waiting for a connection: above it the database is behind for good, and memory would fill. */
const UNITS_MAX = 10_000

/** How units are run. */
export interface PostgresOptions {
  /**
   * Whether texts become named prepared statements, the default. Set it to false behind a pooler that shares
   * connections between transactions and does not follow prepared statements.
   */
  readonly prepare?: boolean
  /** Units that may run or wait for a connection; beyond it `run` throws `OVERLOADED`. 10,000 by default. */
  readonly queueMax?: number
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<PostgresOptions> = z.strictObject({
  prepare: z.boolean().exactOptional(),
  queueMax: z.int().min(1).max(1_000_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Postgres through a `pg` Pool, which stays the caller's: `close` waits for the units under way and ends no connection.
 * How long a connection, a lock or a statement may take is the pool's to say (`connectionTimeoutMillis`,
 * `query_timeout`, `lock_timeout`); what exceeds it is `STORE_UNAVAILABLE`, or `COMMIT_UNKNOWN` during COMMIT.
 *
 * `supports.durable` takes the server at its defaults, `fsync` and `synchronous_commit` on.
 *
 * Units run at READ COMMITTED. One that the server rolls back for a deadlock or a serialization failure is run again,
 * at most ten times, after jittered pauses in which its signal counts. Throws `INVALID_OPTIONS`.
 */
export function postgresDatabase(pool: PgPool, options: PostgresOptions = {}): SqlDatabase {
  const parsed = parseOptions(optionsSchema, 'postgresDatabase', options)
  const { prepare = true, queueMax = UNITS_MAX, platform = systemPlatform } = parsed
  const statements = new PgStatements(prepare)
  // A pool reports the loss of an idle connection as an event, which ends the process when nobody listens. Nothing is
  // lost with it: the pool opens another one when a unit asks. One listener a pool is enough, and it stays, because
  // other databases on the pool rely on it.
  if (pool.listenerCount?.('error') === 0) pool.on?.('error', ignore)
  const gate = createUnitGate(POSTGRES, queueMax, () => {})

  const run = async <T>(work: () => Sql<T>, unitOptions: { readonly signal?: AbortSignal } = {}): Promise<T> => {
    let named = true
    for (let attempt = 1; ; attempt += 1) {
      const client = await lend(pool, unitOptions.signal)
      const outcome = await attemptUnit(client, work, (statement) => statements.perform(client, statement, named))
      if (!outcome.failed) return outcome.value as T
      const stale = isStalePlan(outcome.fault)
      if (!(stale || isContention(outcome.fault)) || attempt >= ATTEMPTS_MAX) throw outcome.value
      // The pool's other connections may all have the stale plan too.
      if (stale) named = false
      const longest = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** (attempt - 1))
      await sleep(platform.clock, platform.random.float() * longest, unitOptions)
    }
  }
  return {
    dialect: postgresDialect,
    supports: { durable: 'power-loss', concurrentWriters: true, blocksEventLoop: false },
    run: (work, unitOptions) => gate.admit(() => run(work, unitOptions)),
    close: () => gate.close(),
    [Symbol.asyncDispose]: () => gate.close()
  }
}

function ignore(): void {}

/** What became of one attempt. `fault` is what the driver threw, whatever the unit made of it. */
interface Attempt {
  readonly failed: boolean
  readonly value: unknown
  readonly fault: unknown
}

/** Runs one transaction on a client that is lent, and gives it back; a client that cannot be trusted is thrown away. */
async function attemptUnit(
  client: PgPooledClient,
  work: () => Sql<unknown>,
  perform: (statement: SqlStatement) => Promise<SqlResult>
): Promise<Attempt> {
  let fault: unknown
  let destroy = false
  const asking = async <T>(operation: string, text: string, ask: () => Promise<T>): Promise<T> => {
    try {
      return await ask()
    } catch (error) {
      fault = error
      throw postgresFailure(error, operation, text)
    }
  }
  // A connection that breaks while it is lent is also an event of the client's, besides failing its query.
  client.on?.('error', ignore)
  try {
    await asking('begin a transaction', '', () => client.query('begin isolation level read committed'))
    const value = await driveUnit(POSTGRES, work, (statement) =>
      asking('run a statement', statement.text, () => perform(statement))
    )
    await asking('commit', 'commit', () => commit(client))
    return { failed: false, value, fault }
  } catch (error) {
    destroy = isUntrusted(fault) || !(await rolledBack(client))
    return { failed: true, value: error, fault }
  } finally {
    client.removeListener?.('error', ignore)
    client.release(destroy)
  }
}

/** Whether a client that failed so must not serve another unit. `fault` is undefined when the unit itself threw. */
function isUntrusted(fault: unknown): boolean {
  if (fault === undefined) return false
  return isSuiteError(fault, 'COMMIT_UNKNOWN') || isConnectionLost(fault) || isStalePlan(fault)
}

/** Throws `COMMIT_UNKNOWN` when no server says what became of the transaction, and what the server says when it refuses. */
async function commit(client: PgPooledClient): Promise<void> {
  let command: string | undefined
  try {
    command = (await client.query('commit')).command
  } catch (error) {
    if (!isConnectionLost(error)) throw error
    const message = 'the connection to postgres was lost during COMMIT; the unit took effect wholly or not at all'
    throw new CoreError('COMMIT_UNKNOWN', message, { store: POSTGRES }, { cause: redacted(error) })
  }
  if (command !== 'ROLLBACK') return
  const message = 'postgres answered COMMIT with ROLLBACK: the transaction had failed before'
  throw new CoreError('STORE_UNAVAILABLE', message, { store: POSTGRES, operation: 'commit' })
}

async function rolledBack(client: PgPooledClient): Promise<boolean> {
  try {
    await client.query('rollback')
    return true
  } catch {
    // Without its connection the server rolls back by itself.
    return false
  }
}

/** Borrows a client. A signal that aborts first wins; the client that comes too late goes straight back. */
async function lend(pool: PgPool, signal: AbortSignal | undefined): Promise<PgPooledClient> {
  signal?.throwIfAborted()
  const lending = pool.connect().catch((error: unknown) => {
    throw postgresFailure(error, 'connect')
  })
  if (signal === undefined) return lending
  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([lending, aborted])
  } catch (error) {
    lending.then(
      (client) => client.release(),
      () => {}
    )
    throw error
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
  }
}
