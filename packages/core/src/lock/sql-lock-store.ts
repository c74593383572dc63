import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import type { Duty } from '../schedule/duty.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { changes, firstRow, integerOf } from '../sql/statement.ts'
import { checkClaim, checkOwned, type LeaseClaim, type LeaseGrant, type LockStore, NAME_KEPT_MS } from './lock-store.ts'

/** Where the locks live. */
export interface SqlLockStoreOptions {
  /** A database that has taken `lockSchema`. */
  readonly db: SqlDatabase
}

/** Locks in SQL. */
export interface SqlLockStore extends LockStore {
  /** For a worker: forgets names that nobody has used for 30 days, up to 1,000 a run. Without it they stay for ever. */
  readonly sweep: Duty
}

const optionsSchema: z.ZodType<SqlLockStoreOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value)
})

/** What one run of the sweep deletes at most: some milliseconds of a writer. */
const SWEPT_MAX = 1_000

/**
 * Locks in the tables of `lockSchema`, for any number of processes: SQLite for those of one machine, Postgres beyond.
 * Leases expire by the database's clock, read after the row is locked. The durable choice: a lease and its fence are as
 * safe as any committed row.
 *
 * On Postgres give it connections that units of long duration do not exhaust, or leases cannot be extended in time.
 * Throws `INVALID_OPTIONS`.
 */
export function sqlLockStore(options: SqlLockStoreOptions): SqlLockStore {
  const { db } = parseOptions(optionsSchema, 'sqlLockStore', options)
  const { now } = db.dialect

  // One statement compares and takes. Where two first claims meet, Postgres lets the second wait for the first to commit
  // and look again, with the time as it is then.
  const take = `insert into lock_leases(name, owner, fence, expires_at, used_at)
    values (?, ?, ${now} * 1000, ${now} + ?, ${now})
    on conflict (name) do update set
      fence = case
        when lock_leases.owner = excluded.owner and lock_leases.expires_at > ${now} then lock_leases.fence
        when lock_leases.fence >= excluded.fence then lock_leases.fence + 1
        else excluded.fence end,
      expires_at = case
        when lock_leases.owner = excluded.owner and lock_leases.expires_at > excluded.expires_at
        then lock_leases.expires_at else excluded.expires_at end,
      owner = excluded.owner,
      used_at = excluded.used_at
    where lock_leases.owner = excluded.owner or lock_leases.expires_at <= ${now}
    returning fence`
  const prolong = `update lock_leases set
      expires_at = case when expires_at > ${now} + ? then expires_at else ${now} + ? end, used_at = ${now}
    where name = ? and owner = ? and expires_at > ${now}`
  const end = `update lock_leases set expires_at = 0, used_at = ${now} where name = ? and owner = ?`

  function* acquire({ name, owner, ttlMs }: LeaseClaim): Sql<LeaseGrant> {
    const taken = yield* firstRow(take, name, owner, ttlMs)
    if (taken !== undefined) return { outcome: 'granted', fence: integerOf(taken, 'fence') }
    const row = yield* firstRow(`select expires_at, ${now} as read_at from lock_leases where name = ?`, name)
    if (row === undefined) {
      // A statement that finds a row to refuse it and the next that finds none: only somebody's delete is between them.
      throw new CoreError('STORE_UNAVAILABLE', `the lease of ${name} was deleted while it was asked for`, {
        store: 'sql',
        operation: 'acquire a lock'
      })
    }
    const readAt = integerOf(row, 'read_at')
    // It may have been released since, or have expired.
    const until = Math.max(readAt, integerOf(row, 'expires_at'))
    return { outcome: 'busy', until, remainingMs: until - readAt }
  }

  return {
    supports: { durable: db.supports.durable, shared: db.supports.durable !== 'none' },
    async acquire(claim, { signal } = {}) {
      const checked = checkClaim('sqlLockStore.acquire', claim)
      return db.run(() => acquire(checked), signal === undefined ? {} : { signal })
    },
    async extend(claim) {
      const { name, owner, ttlMs } = checkClaim('sqlLockStore.extend', claim)
      const extended = await db.run(() => changes(prolong, ttlMs, ttlMs, name, owner))
      return extended === 1 ? 'extended' : 'lost'
    },
    async release(owned) {
      const { name, owner } = checkOwned('sqlLockStore.release', owned)
      return (await db.run(() => changes(end, name, owner))) === 1 ? 'released' : 'lost'
    },
    sweep: {
      name: 'lock.sweep',
      run: async ({ signal }) => {
        // The outer conditions are looked at again where a row was taken meanwhile; those of the list are not.
        const idle = `used_at < ${now} - ${NAME_KEPT_MS} and expires_at <= ${now}`
        const sweep = `delete from lock_leases
          where ${idle} and name in (select name from lock_leases where ${idle} order by used_at limit ${SWEPT_MAX})`
        return { handled: await db.run(() => changes(sweep), { signal }) }
      }
    }
  }
}
