import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { CoreError } from '../failure/core-error.ts'
import type { Platform } from '../platform.ts'
import type { Sql } from '../sql/sql-database.ts'
import { runUnit } from '../sql/unit.ts'
import { isBusy, isCommitRefusal, isConstraint, SQLITE, sqliteFailure } from './sqlite-failure.ts'
import { StatementCache } from './statement-cache.ts'

/** Units that share one commit: far beyond where a longer batch still helps, and what one failing commit can reject. */
const BATCH_UNITS_MAX = 256

/** How long a batch may hold the event loop before it commits, not counting its last unit and the sync itself. */
const BATCH_MS = 5

/** How long units wait for another process's lock before they are refused. */
const BUSY_MAX_MS = 5_000

/**
 * The mean pause between two attempts at that lock; jittered, so that two processes do not take turns at missing it.
 * Where two of them write without a pause, 3 ms let each wait at most 0.2 s for its turn; 10 ms made it 0.4 s.
 */
const BUSY_PAUSE_MS = 3

/** What became of a unit; `failed` tells `undefined` thrown from `undefined` returned. */
interface Outcome {
  readonly failed: boolean
  readonly value: unknown
}

interface Waiting {
  readonly work: () => Sql<unknown>
  /** From here on its signal counts no more. */
  begin(): void
  settle(outcome: Outcome): void
}

/**
 * Collects the units that wait and commits them together. One durable commit costs a disk sync, whether it holds one
 * unit or two hundred; a savepoint each keeps them apart, so that one that throws takes nothing else with it.
 */
export class GroupCommit {
  readonly #database: DatabaseSync
  readonly #platform: Platform
  readonly #statements: StatementCache
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #savepoint: StatementSync
  readonly #release: StatementSync
  /** In the order they came; a set, because a unit that is called off leaves from the middle. */
  readonly #queue = new Set<Waiting>()
  /** The units of a batch that broke a deferred constraint: each is run again, in a transaction of its own. */
  #suspects: Waiting[] = []
  #scheduled = false
  /** Monotonic time of the first of the attempts at a lock that another process holds. */
  #busySince: number | undefined

  constructor(database: DatabaseSync, platform: Platform) {
    this.#database = database
    this.#platform = platform
    this.#statements = new StatementCache(database)
    // SQLite would wait for a lock by blocking the event loop, and fare worse: timers find the gaps between batches.
    database.exec('pragma busy_timeout = 0')
    this.#begin = database.prepare('begin immediate')
    this.#commit = database.prepare('commit')
    this.#savepoint = database.prepare('savepoint unit')
    this.#release = database.prepare('release unit')
  }

  /** Settles when the unit has been committed or rolled back. The signal counts until its batch begins. */
  add<T>(work: () => Sql<T>, signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error)
      const onAbort = (): void => {
        this.#queue.delete(waiting)
        reject(signal?.reason as Error)
      }
      const waiting: Waiting = {
        work,
        begin: () => signal?.removeEventListener('abort', onAbort),
        settle: ({ failed, value }) => (failed ? reject(value) : resolve(value as T))
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#queue.add(waiting)
      this.#schedule()
    })
  }

  /** After the current turn of the event loop, so that what it starts shares one commit and what it serves is served. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#commitBatch())
  }

  #commitBatch(): void {
    this.#scheduled = false
    // Everybody who waited for the lock was called off: whoever comes next has the whole wait before it.
    if (this.#idle) this.#busySince = undefined
    else if (this.#began()) {
      const done = this.#suspects.length > 0 ? this.#runSuspect() : this.#runBatch()
      this.#settle(done, this.#committed())
    }
    if (!this.#idle) this.#schedule()
  }

  get #idle(): boolean {
    return this.#queue.size === 0 && this.#suspects.length === 0
  }

  /** Takes the write lock; if it cannot be had yet, comes back later, and if it cannot be had at all, refuses everybody. */
  #began(): boolean {
    const { clock, random } = this.#platform
    try {
      this.#begin.run()
      this.#busySince = undefined
      return true
    } catch (error) {
      this.#busySince ??= clock.monotonic()
      if (isBusy(error) && clock.monotonic() - this.#busySince < BUSY_MAX_MS) {
        this.#scheduled = true
        clock.startTimer(BUSY_PAUSE_MS * (0.5 + random.float()), () => this.#commitBatch())
        return false
      }
      this.#busySince = undefined
      this.#refuseAll(sqliteFailure(error, 'begin a transaction'))
      return false
    }
  }

  #refuseAll(failure: unknown): void {
    const refused = [...this.#suspects, ...this.#queue]
    this.#suspects = []
    this.#queue.clear()
    for (const waiting of refused) {
      waiting.begin()
      waiting.settle({ failed: true, value: failure })
    }
  }

  #runBatch(): [Waiting, Outcome][] {
    const { clock } = this.#platform
    const endsAt = clock.monotonic() + BATCH_MS
    const done: [Waiting, Outcome][] = []
    for (const waiting of this.#queue) {
      this.#queue.delete(waiting)
      waiting.begin()
      done.push([waiting, this.#runUnit(waiting.work)])
      // A full disk or a failed write ends the transaction, and with it what the units before had done.
      if (!this.#database.isTransaction) break
      if (done.length >= BATCH_UNITS_MAX || clock.monotonic() >= endsAt) break
    }
    return done
  }

  #runSuspect(): [Waiting, Outcome][] {
    return this.#suspects.splice(0, 1).map((waiting) => [waiting, this.#runUnit(waiting.work)])
  }

  #runUnit(work: () => Sql<unknown>): Outcome {
    try {
      this.#savepoint.run()
      const value = runUnit(SQLITE, work, (statement) => this.#statements.perform(statement))
      this.#release.run()
      return { failed: false, value }
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback to unit; release unit')
      return { failed: true, value: sqliteFailure(error, 'run a unit') }
    }
  }

  /** Commits. Gives what SQLite threw, `LOST`, or undefined when the batch is on disk. */
  #committed(): unknown {
    if (!this.#database.isTransaction) return LOST
    try {
      this.#commit.run()
      return undefined
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback')
      return error
    }
  }

  /**
   * Tells each unit of a batch what became of it. Where the batch was not committed, that includes the units that threw:
   * what they saw, and threw for, may be what another one did, which now never was.
   */
  #settle(done: readonly [Waiting, Outcome][], failure: unknown): void {
    if (isConstraint(failure) && done.length > 1) {
      this.#suspects = done.map(([waiting]) => waiting)
      return
    }
    // The unit that ended the transaction is the last, and has a failure of its own to report.
    const culprit = failure === LOST ? done.at(-1) : undefined
    for (const unit of done) {
      const [waiting, outcome] = unit
      waiting.settle(
        failure === undefined || unit === culprit ? outcome : { failed: true, value: commitFailure(failure) }
      )
    }
  }
}

/** In the place of what SQLite throws, when a transaction was gone before it could be committed. */
const LOST = Symbol('the transaction was lost')

function commitFailure(error: unknown): unknown {
  if (error === LOST) {
    const message = 'sqlite rolled back every unit of the batch, because the file failed during one of them'
    return new CoreError('STORE_UNAVAILABLE', message, { store: SQLITE, operation: 'write' })
  }
  if (isCommitRefusal(error)) return sqliteFailure(error, 'commit', 'commit')
  const message = 'sqlite failed after it began to COMMIT; the units of the batch took effect wholly or not at all'
  return new CoreError('COMMIT_UNKNOWN', message, { store: SQLITE }, { cause: error })
}
