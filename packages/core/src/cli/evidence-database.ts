import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import type { PgPool } from '../postgres/pg-pool.ts'
import { postgresDatabase } from '../postgres/postgres-database.ts'
import type { SqlDatabase } from '../sql/sql-database.ts'
import { runUnit } from '../sql/unit.ts'
import { SQLITE, sqliteFailure } from '../sqlite/sqlite-failure.ts'
import { StatementCache } from '../sqlite/statement-cache.ts'
import { Refusal } from './refusal.ts'

/** Opens a SQLite file or a Postgres database so that nothing in it can be changed: it is evidence. */
export async function openReadOnly(database: string): Promise<SqlDatabase> {
  return /^postgres(ql)?:\/\//.test(database) ? openPostgres(database) : openSqlite(database)
}

function openSqlite(path: string): SqlDatabase {
  if (!existsSync(path)) throw new Refusal('there is no such file')
  const database = opened(path)
  const statements = new StatementCache(database)
  const close = async (): Promise<void> => {
    if (database.isOpen) database.close()
  }
  return {
    dialect: {
      name: 'sqlite',
      skipLocked: '',
      forUpdate: '',
      now: "cast(round(unixepoch('subsec') * 1000) as integer)"
    },
    supports: { durable: 'none', concurrentWriters: false, blocksEventLoop: true },
    async run(work, { signal } = {}) {
      signal?.throwIfAborted()
      try {
        // One transaction: its statements see one state of a file that others write to.
        database.exec('begin')
        return runUnit(SQLITE, work, (statement) => statements.perform(statement))
      } catch (error) {
        throw sqliteFailure(error, 'read')
      } finally {
        if (database.isTransaction) database.exec('rollback')
      }
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

/**
 * Without a log beside it the file holds everything and nobody has it open; then it is opened as immutable, because a
 * read-only opening would put a new write-ahead log beside it. What was committed in such a log must be read too, and
 * what a rollback journal says was not committed must not.
 */
function opened(path: string): DatabaseSync {
  const url = pathToFileURL(path)
  if (!['-wal', '-journal'].some((log) => existsSync(path + log))) url.searchParams.set('immutable', '1')
  try {
    const database = new DatabaseSync(url, { readOnly: true, timeout: 5_000 })
    database.exec('pragma query_only = on')
    return database
  } catch (error) {
    throw sqliteFailure(error, 'open the file')
  }
}

async function openPostgres(url: string): Promise<SqlDatabase> {
  const { Pool } = await loadPg()
  const pool = new Pool({ connectionString: url, max: 1, application_name: 'verify-audit' })
  // Queued before the first statement of any unit.
  pool.on('connect', (client) => {
    client.query('set default_transaction_read_only = on').catch(() => {})
  })
  const db = postgresDatabase(pool)
  const close = async (): Promise<void> => {
    await db.close()
    await pool.end()
  }
  return { ...db, close, [Symbol.asyncDispose]: close }
}

/** What is used of the package pg. */
interface Pg {
  readonly Pool: new (config: {
    readonly connectionString: string
    readonly max: number
    readonly application_name: string
  }) => PgPool & {
    on(event: 'connect', listener: (client: { query(text: string): Promise<unknown> }) => void): unknown
    end(): Promise<void>
  }
}

/** An optional peer, by a name that compilers and bundlers do not follow: it may be absent. */
async function loadPg(): Promise<Pg> {
  const name: string = 'pg'
  try {
    // CommonJS: its exports are those of the default.
    return ((await import(name)) as { readonly default: Pg }).default
  } catch {
    throw new Refusal('a postgres:// URL needs the package pg: npm install pg')
  }
}
