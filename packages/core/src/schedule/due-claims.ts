import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { jsonRows } from '../sql/json-rows.ts'
import type { Sql, SqlDialect, SqlRow, SqlValue } from '../sql/sql-database.ts'
import { firstRow, integerOf, optionalIntegerOf, rows, textOf } from '../sql/statement.ts'

/**
 * A table whose rows fall due. Any package's own table can be one, if it has, besides a text `key` that is unique:
 *
 * | column        | SQLite, Postgres           | meaning                                                              |
 * |---------------|----------------------------|----------------------------------------------------------------------|
 * | `next_due_at` | `integer`, `bigint`        | when it may be claimed: the instant it is due, the end of a lease, or the next attempt; NULL for never |
 * | `fence`       | … `not null default 0`     | that of the last claim                                               |
 * | `attempts`    | … `not null default 0`     | claims since the row was made or last advanced, those that died included |
 * | `unanswered`  | … `not null default 0`     | claims in a row that nobody answered: above 0 it is held, or its holder died |
 *
 * and `create index … on … (next_due_at) where next_due_at is not null`. A lease is `next_due_at` moved ahead, so that
 * a row whose holder died falls due by itself, and one index serves both.
 */
export interface DueTable {
  /** Lower case, as are the columns: they become part of the statements. */
  readonly table: string
  readonly key: string
  /** Further columns that a claim reads. */
  readonly columns?: readonly string[]
  /**
   * A condition on the rows that may be claimed at all, such as `sent_at is null`: part of the code, with `?` for the
   * values that each claim gives.
   */
  readonly where?: string
}

/** What a holder must show: the row and the fence under which it was claimed. */
export interface HeldRow {
  readonly key: string
  readonly fence: number
}

/** A row that was claimed. */
export interface DueClaim extends HeldRow {
  /** Claims since the row was made or last advanced, this one included: 1 for the first. */
  readonly attempt: number
  /** Claims before this one, in a row, whose holders died or hung: above 0 the row itself may be what kills them. */
  readonly deaths: number
  /** When it was claimed, by the store's clock: epoch milliseconds. */
  readonly claimedAt: number
  /** The `columns` of the table. */
  readonly row: SqlRow
}

/** Which rows to claim. */
export interface ClaimOptions {
  /** At most so many, the longest due first: no more than the caller can begin at once. */
  readonly limit: number
  /** How long each is held unless extended or answered; integer milliseconds. */
  readonly leaseMs: number
  /**
   * `fresh` rows were answered for whenever they were held; those that a holder did not answer for are `suspect`, and
   * best handled one at a time, or a row that kills its process takes its neighbours down with it again and again.
   * Both unless given.
   */
  readonly only?: 'fresh' | 'suspect'
  /** For the `?` of the table's `where`. */
  readonly values?: readonly SqlValue[]
}

/** What waits, by the store's clock. */
export interface DueOutlook {
  /** How long the row that has waited longest has been due; 0 when none waits. Rows that are held do not wait. */
  readonly lagMs: number
  /** How long after `at` the next row falls due, or the lease of one ends; undefined when there is none. */
  readonly nextDueInMs: number | undefined
}

/**
 * Claims on due rows, as parts of units. Where workers race the store decides by its own clock, never theirs.
 *
 * Fences only grow, per key: each is the one before plus one, or the store's clock in microseconds where that is more, so
 * that they go on growing when a row is deleted and made again a millisecond later.
 *
 * Every answer is compared with the row in the statement that changes it. Of a claim that is stale (another one came, or
 * it has been answered) it changes nothing, and leaves its key out of the set that it returns. A claim whose lease has
 * ended but that nobody else has taken can still be answered. The rows of one answer have different keys.
 *
 * After `COMMIT_UNKNOWN` an answer may be repeated: a key that is then missing was answered, or is somebody else's.
 */
export interface DueClaims {
  /** Claims due rows, skipping those that another unit has locked. In no particular order. */
  claim(options: ClaimOptions): Sql<DueClaim[]>
  /**
   * Deletes fresh due rows, in the unit that also does what they are for: no lease, one write in place of two, and both
   * are done or neither. It leaves no trace when the process dies over a row, so somebody else must keep an eye on that.
   */
  take(options: { readonly limit: number; readonly values?: readonly SqlValue[] }): Sql<DueClaim[]>
  /** Lets the leases end `leaseMs` from now, and not before they did. */
  extend(held: readonly HeldRow[], leaseMs: number): Sql<Set<string>>
  /** Deletes the rows. */
  finish(held: readonly HeldRow[]): Sql<Set<string>>
  /** Ends the claims; the rows are due next at `nextDueAt`, or never, and their attempts count from 0. */
  advance(held: readonly (HeldRow & { readonly nextDueAt: number | undefined })[]): Sql<Set<string>>
  /**
   * Ends the claims; the rows are due again `delayMs` from now. With `uncounted` the attempt does not count: its holder
   * did not get to it.
   */
  release(held: readonly (HeldRow & { readonly delayMs: number; readonly uncounted?: boolean })[]): Sql<Set<string>>
  /**
   * What was due at `at` and what is due after it. With the store's time from before a claim that found nothing, rows
   * that fell due since are ahead, and rows that others have locked do not count as ahead: who waits for `nextDueInMs`
   * misses nothing and does not spin.
   */
  outlook(options: { readonly at: number; readonly values?: readonly SqlValue[] }): Sql<DueOutlook>
}

const identifier = z.string().regex(/^[a-z_][a-z0-9_]*$/, 'must be a name in lower case')

const tableSchema: z.ZodType<DueTable> = z.strictObject({
  table: identifier,
  key: identifier,
  columns: z.array(identifier).exactOptional(),
  where: z.string().min(1).exactOptional()
})

const FRESH = ' and unanswered < 1'

/** The texts are made once; a statement is one round trip whatever the number of rows. Throws `INVALID_OPTIONS`. */
export function createDueClaims(dialect: SqlDialect, options: DueTable): DueClaims {
  const { table, key, columns = [], where } = parseOptions(tableSchema, 'createDueClaims', options)
  const { skipLocked } = dialect
  // As a subquery it is read once a statement, when it is first needed: for each row it would cost more than the row
  // does, and Postgres uses no index for what it must evaluate for each row.
  const now = `(select ${dialect.now})`
  const onPostgres = dialect.name === 'postgres'

  const further = where === undefined ? '' : ` and (${where})`

  /** The keys of due rows. */
  const dueIn = (only: string): string => {
    const due = `select ${key} from ${table}
      where next_due_at <= ${now}${only}${further} order by next_due_at limit ?${skipLocked}`
    // As an array the list is made once; Postgres might run it again for each row of a join, and claim too much.
    return `${key} ${onPostgres ? `= any(array(${due}))` : `in (${due})`}`
  }
  const nextFence = `case when fence >= ${now} * 1000 then fence + 1 else ${now} * 1000 end`
  const claimText = (only: string): string => `update ${table} set
      next_due_at = ${now} + ?, attempts = attempts + 1, unanswered = unanswered + 1, fence = ${nextFence}
    where ${dueIn(only)}
    returning ${['next_due_at', 'fence', 'attempts', 'unanswered', key, ...columns].join(', ')}`
  const claims = {
    any: claimText(''),
    fresh: claimText(FRESH),
    suspect: claimText(' and unanswered > 0')
  }
  const takeText = `delete from ${table} where ${dueIn(FRESH)}
    returning ${[`${nextFence} as fence`, `${now} as taken_at`, 'attempts', key, ...columns].join(', ')}`

  const heldRows = jsonRows(dialect, { k: 'text', f: 'integer' })
  const timedRows = jsonRows(dialect, { k: 'text', f: 'integer', n: 'integer' })
  const releasedRows = jsonRows(dialect, { k: 'text', f: 'integer', n: 'integer', c: 'integer' })
  const isHeld = `${table}.${key} = given.k and ${table}.fence = given.f and ${table}.unanswered > 0`
  const update = (set: string, { select }: { readonly select: string }): string =>
    `update ${table} set ${set} from ${select} as given where ${isHeld} returning ${key}`

  const leaseEnd = `${now} + given.n`
  const extendText = update(
    `next_due_at = case when next_due_at > ${leaseEnd} then next_due_at else ${leaseEnd} end`,
    timedRows
  )
  const advanceText = update('next_due_at = given.n, attempts = 0, unanswered = 0', timedRows)
  const releaseText = update(`next_due_at = ${leaseEnd}, attempts = attempts - given.c, unanswered = 0`, releasedRows)
  const finishText = `delete from ${table}
    where unanswered > 0 and (${key}, fence) in (select k, f from ${heldRows.select} as given) returning ${key}`

  const earliest = (bound: string): string =>
    `(select next_due_at from ${table} where next_due_at ${bound}${further} order by next_due_at limit 1)`
  const outlookText = `select ${earliest('<= ?')} as overdue, ${earliest('> ?')} as ahead`

  function* answer(text: string, given: string): Sql<Set<string>> {
    return new Set((yield* rows(text, given)).map((row) => textOf(row, key)))
  }

  return {
    *claim({ limit, leaseMs, only, values = [] }) {
      return (yield* rows(claims[only ?? 'any'], leaseMs, ...values, limit)).map((row) => ({
        key: textOf(row, key),
        fence: integerOf(row, 'fence'),
        attempt: integerOf(row, 'attempts'),
        deaths: integerOf(row, 'unanswered') - 1,
        claimedAt: integerOf(row, 'next_due_at') - leaseMs,
        row
      }))
    },
    *take({ limit, values = [] }) {
      return (yield* rows(takeText, ...values, limit)).map((row) => ({
        key: textOf(row, key),
        fence: integerOf(row, 'fence'),
        attempt: integerOf(row, 'attempts') + 1,
        deaths: 0,
        claimedAt: integerOf(row, 'taken_at'),
        row
      }))
    },
    *extend(held, leaseMs) {
      if (held.length === 0) return new Set()
      return yield* answer(extendText, timedRows.parameter(held.map(({ key: k, fence: f }) => ({ k, f, n: leaseMs }))))
    },
    *finish(held) {
      if (held.length === 0) return new Set()
      return yield* answer(finishText, heldRows.parameter(held.map(({ key: k, fence: f }) => ({ k, f }))))
    },
    *advance(held) {
      if (held.length === 0) return new Set()
      const given = held.map(({ key: k, fence: f, nextDueAt: n = null }) => ({ k, f, n }))
      return yield* answer(advanceText, timedRows.parameter(given))
    },
    *release(held) {
      if (held.length === 0) return new Set()
      const given = held.map(({ key: k, fence: f, delayMs: n, uncounted }) => ({
        k,
        f,
        n,
        c: uncounted === true ? 1 : 0
      }))
      return yield* answer(releaseText, releasedRows.parameter(given))
    },
    *outlook({ at, values = [] }) {
      const row = (yield* firstRow(outlookText, at, ...values, at, ...values)) ?? {}
      const overdue = optionalIntegerOf(row, 'overdue')
      const ahead = optionalIntegerOf(row, 'ahead')
      return {
        lagMs: overdue === undefined ? 0 : at - overdue,
        nextDueInMs: ahead === undefined ? undefined : ahead - at
      }
    }
  }
}
