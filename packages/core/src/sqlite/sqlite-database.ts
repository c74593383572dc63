import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { SqlDatabase, SqlDialect } from '../sql/sql-database.ts'
import { createUnitGate } from '../sql/unit-gate.ts'
import { GroupCommit } from './group-commit.ts'
import { SQLITE, sqliteFailure } from './sqlite-failure.ts'

/** How long opening may wait, blocking, for another process that is opening the same file. */
const OPEN_BUSY_MS = 5_000

/** The size that the log is cut back to when it can start over, so that one burst does not keep the disk for good: 64 MiB. */
const LOG_KEPT_BYTES = 67_108_864

/**
 * The pages after which the log is written back into the file: half of what is kept. A page that many units change, such as
 * one of an index by a hash, is then written back once for eight times as many of them as with SQLite's own 1,000.
 */
const LOG_PAGES = 8_000

/** A tenth of a second of small units; a queue that is longer does not get shorter by itself. */
const QUEUE_MAX = 10_000

/** Where the file is and what a committed unit must survive. */
export interface SqliteOptions {
  /** The file, made when it does not exist (its folder must), or `:memory:`. Several processes may open the same file. */
  readonly path: string
  /**
   * What a committed unit survives. `power-loss`, the default, syncs the log at every commit (`synchronous = full`).
   * `process` leaves that to the operating system (`normal`): about ten times as fast for a single caller, and when the
   * machine goes down the last commits are lost, though never the file's consistency.
   */
  readonly durability?: 'power-loss' | 'process'
  /** Units that may wait; beyond it `run` throws `OVERLOADED`. 10,000 by default. */
  readonly queueMax?: number
  readonly platform?: Platform
}

const optionsSchema: z.ZodType<SqliteOptions> = z.strictObject({
  path: z
    .string()
    .min(1)
    .refine((path) => !path.includes('\0'), 'must not contain a NUL character'),
  durability: z.enum(['power-loss', 'process']).exactOptional(),
  queueMax: z.int().min(1).max(1_000_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

const dialect: SqlDialect = {
  name: 'sqlite',
  skipLocked: '',
  forUpdate: '',
  now: "cast(round(unixepoch('subsec') * 1000) as integer)"
}

/**
 * A SQLite file through `node:sqlite`: no server, no native build. Units that wait at the same time share one commit,
 * each under its own savepoint, at most 256 units or 5 ms to a batch; between batches the event loop has its turn. A
 * lock that another process holds is waited for without blocking, for 5 s, then the units get `STORE_UNAVAILABLE`.
 *
 * Throws `INVALID_OPTIONS`, `STORE_UNAVAILABLE` when the file cannot be opened and `STORE_DAMAGED` when it is not a
 * database; damage further inside is found, and thrown, by the unit that meets it. On Node 22 `node:sqlite` prints its
 * experimental warning once.
 */
export function sqliteDatabase(options: SqliteOptions): SqlDatabase {
  const parsed = parseOptions(optionsSchema, 'sqliteDatabase', options)
  const { path, durability = 'power-loss', queueMax = QUEUE_MAX, platform = systemPlatform } = parsed
  const database = open(path, durability)
  const commits = new GroupCommit(database, platform)
  const gate = createUnitGate(SQLITE, queueMax, () => database.close())
  return {
    dialect,
    supports: {
      // SQLite has a location for whatever is not in memory, however its path was written.
      durable: database.location() === null ? 'none' : durability,
      concurrentWriters: false,
      blocksEventLoop: true
    },
    run: (work, { signal } = {}) => gate.admit(() => commits.add(work, signal)),
    close: () => gate.close(),
    [Symbol.asyncDispose]: () => gate.close()
  }
}

function open(path: string, durability: 'power-loss' | 'process'): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path, { timeout: OPEN_BUSY_MS, enableForeignKeyConstraints: true })
    const mode = database.prepare('pragma journal_mode = wal').get()?.['journal_mode']
    if (mode !== 'wal' && database.location() !== null) {
      const message = `sqlite cannot open ${nameOf(path)}: its file system has no shared memory for a write-ahead log`
      throw new CoreError('STORE_UNAVAILABLE', message, { store: SQLITE, operation: 'open' })
    }
    database.exec(`pragma synchronous = ${durability === 'process' ? 'normal' : 'full'}`)
    database.exec(`pragma wal_autocheckpoint = ${LOG_PAGES}`)
    database.exec(`pragma journal_size_limit = ${LOG_KEPT_BYTES}`)
    return database
  } catch (error) {
    if (database?.isOpen === true) database.close()
    throw sqliteFailure(error, `open ${nameOf(path)}`)
  }
}

/** The file's own name: folders may be named after customers, and the query of a `file:` URI may hold a key. */
function nameOf(path: string): string {
  return path.split('?')[0]?.split(/[/\\]/).at(-1) ?? ''
}
