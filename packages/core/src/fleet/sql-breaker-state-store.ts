import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { NAME_KEPT_MS } from '../lock/lock-store.ts'
import type { Duty } from '../schedule/duty.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { changes, firstRow, integerOf, textOf } from '../sql/statement.ts'
import { type BreakerRecord, standingOf, takeStep, UNKNOWN_BREAKER } from './breaker-record.ts'
import {
  type BreakerStateStore,
  type BreakerStep,
  breakerStateStoreOf,
  type ProbeAnswer
} from './breaker-state-store.ts'

/** Where the breakers live. */
export interface SqlBreakerStateStoreOptions {
  /** A database that has taken `fleetSchema`. */
  readonly db: SqlDatabase
}

/** Shared breakers in SQL. */
export interface SqlBreakerStateStore extends BreakerStateStore {
  /** For a worker: forgets breakers that nobody has changed for 30 days, up to 1,000 a run. Without it they stay for ever. */
  readonly sweep: Duty
}

const optionsSchema: z.ZodType<SqlBreakerStateStoreOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value)
})

/** What one run of the sweep deletes at most: some milliseconds of a writer. */
const SWEPT_MAX = 1_000

const COLUMNS = 'generation, state, breaks, break_ms, since_at, left_ms, owner, claimed_at, lease_ms'

/**
 * Shared breakers in the tables of `fleetSchema`: SQLite for the processes of one machine, Postgres beyond. Breaks
 * and claims end by the database's clock, read after the row is locked; a reading is one statement. Throws
 * `INVALID_OPTIONS`.
 */
export function sqlBreakerStateStore(options: SqlBreakerStateStoreOptions): SqlBreakerStateStore {
  const { db } = parseOptions(optionsSchema, 'sqlBreakerStateStore', options)
  const { now, forUpdate } = db.dialect

  const read = `select ${COLUMNS}, ${now} as read_at from breaker_states where name = ?`
  const lock = `select ${COLUMNS} from breaker_states where name = ? ${forUpdate}`
  const insert = `insert into breaker_states(name, ${COLUMNS}, used_at)
    values (?, 0, 'closed', 0, 0, 0, 0, '', 0, 0, ${now}) on conflict (name) do update set name = excluded.name`
  const update = `update breaker_states set generation = ?, state = ?, breaks = ?, break_ms = ?, since_at = ?, left_ms = ?,
    owner = ?, claimed_at = ?, lease_ms = ?, used_at = ? where name = ?`

  function* take(name: string, step: BreakerStep): Sql<ProbeAnswer> {
    let row = yield* firstRow(lock, name)
    if (row === undefined && step.do === 'open') {
      // Locks a row that somebody else has just made, too, or a sweep could take it away before it is looked at.
      yield* changes(insert, name)
      row = yield* firstRow(lock, name)
    }
    const at = integerOf((yield* firstRow(`select ${now} as read_at`)) ?? {}, 'read_at')
    const before = row === undefined ? UNKNOWN_BREAKER : recordIn(row)
    const { record, answer } = takeStep(before, step, at)
    if (record === before) return answer
    const { generation, state, breaks, breakMs, since, leftMs, owner, claimedAt, leaseMs } = record
    const values = [generation, state, breaks, breakMs, since, leftMs, owner, claimedAt, leaseMs, at, name]
    yield* changes(update, ...values)
    return answer
  }

  const store = breakerStateStoreOf(
    'sqlBreakerStateStore',
    { durable: db.supports.durable, shared: db.supports.durable !== 'none' },
    {
      async read(name) {
        const row = await db.run(() => firstRow(read, name))
        return row === undefined ? standingOf(UNKNOWN_BREAKER, 0) : standingOf(recordIn(row), integerOf(row, 'read_at'))
      },
      take: (name, step) => db.run(() => take(name, step))
    }
  )
  return {
    ...store,
    sweep: {
      name: 'breaker.sweep',
      run: async ({ signal }) => {
        // The outer condition is looked at again where a row was changed meanwhile; that of the list is not.
        const idle = `used_at < ${now} - ${NAME_KEPT_MS}`
        const sweep = `delete from breaker_states
          where ${idle} and name in (select name from breaker_states where ${idle} order by used_at limit ${SWEPT_MAX})`
        return { handled: await db.run(() => changes(sweep), { signal }) }
      }
    }
  }
}

function recordIn(row: SqlRow): BreakerRecord {
  const state = textOf(row, 'state')
  if (state !== 'open' && state !== 'closed') {
    const reason = 'column state holds a state that breakers do not have'
    throw new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
  }
  return {
    generation: integerOf(row, 'generation'),
    state,
    breaks: integerOf(row, 'breaks'),
    breakMs: integerOf(row, 'break_ms'),
    since: integerOf(row, 'since_at'),
    leftMs: integerOf(row, 'left_ms'),
    owner: textOf(row, 'owner'),
    claimedAt: integerOf(row, 'claimed_at'),
    leaseMs: integerOf(row, 'lease_ms')
  }
}
