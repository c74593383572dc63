import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import type { Duty } from '../schedule/duty.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { changes, execute, firstRow, integerOf, textOf } from '../sql/statement.ts'
import { type BucketRecord, cancelTokens, claimTokens, pauseTokens, type ReservationRecord } from './bucket-record.ts'
import {
  type BucketAnswer,
  type BucketClaim,
  type BucketPause,
  checkCancel,
  checkClaim,
  checkPause,
  type TokenBucketStore
} from './token-bucket-store.ts'

/** Where the buckets live. */
export interface SqlTokenBucketStoreOptions {
  /** A database that has taken `fleetSchema`. */
  readonly db: SqlDatabase
}

/** Shared token buckets in SQL. */
export interface SqlTokenBucketStore extends TokenBucketStore {
  /** For a worker: forgets full buckets and claims of long ago, up to 1,000 each a run. Without it buckets stay for ever. */
  readonly sweep: Duty
}

const optionsSchema: z.ZodType<SqlTokenBucketStoreOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value)
})

/** What one run of the sweep deletes at most of either: some milliseconds of a writer. */
const SWEPT_MAX = 1_000

/**
 * Claims and buckets stay this much longer than they count, so that a clock that is set back by less takes no repeated
 * claim anew, and a sweep does not take away the bucket of a call that comes every few seconds.
 */
const SET_BACK_MS = 60_000

const BUCKET = 'born_at, tokens, counted_ms, last_usable_ms, per_second, burst, kept_until'
const RESERVATION = 'tokens, usable_ms, per_second, born_at, cancelled, kept_until'

/**
 * Shared token buckets in the tables of `fleetSchema`: SQLite for the processes of one machine, Postgres beyond. The
 * bucket's row is locked before the database's clock is read, so that claims on one bucket are taken one by one: some
 * thousands a second. Throws `INVALID_OPTIONS`.
 */
export function sqlTokenBucketStore(options: SqlTokenBucketStoreOptions): SqlTokenBucketStore {
  const { db } = parseOptions(optionsSchema, 'sqlTokenBucketStore', options)
  const { now, forUpdate } = db.dialect

  // A bucket that is over already, so that there is a row to lock; one that somebody else has just made is locked too, or
  // a sweep could take it away before it is looked at.
  const insert = `insert into token_buckets(name, ${BUCKET}) values (?, 0, '0', '0', '0', '1', '1', 0)
    on conflict (name) do update set name = excluded.name`
  const lock = `select ${BUCKET} from token_buckets where name = ? ${forUpdate}`
  const find = `select ${RESERVATION} from token_reservations where bucket = ? and idempotency_key = ?`
  const update = `update token_buckets set born_at = ?, tokens = ?, counted_ms = ?, last_usable_ms = ?, per_second = ?,
    burst = ?, kept_until = ? where name = ?`
  const keep = `insert into token_reservations(bucket, idempotency_key, ${RESERVATION}) values (?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (bucket, idempotency_key) do update set tokens = excluded.tokens, usable_ms = excluded.usable_ms,
      per_second = excluded.per_second, born_at = excluded.born_at, cancelled = excluded.cancelled,
      kept_until = excluded.kept_until`
  const forget = 'delete from token_reservations where bucket = ? and kept_until <= ?'

  const clock = `select ${now} as read_at`

  /** The bucket's row, locked; for a bucket that has none, one is made. */
  function* locked(bucket: string) {
    const row = yield* firstRow(lock, bucket)
    if (row !== undefined) return row
    yield* changes(insert, bucket)
    return yield* firstRow(lock, bucket)
  }

  /** Called once the bucket is locked, and reads the clock last. */
  function* read(bucket: string, bucketRow: SqlRow | undefined, idempotencyKey: string) {
    const reservationRow = yield* firstRow(find, bucket, idempotencyKey)
    return {
      at: yield* readClock(),
      record: bucketRow === undefined ? undefined : bucketIn(bucketRow),
      reservation: reservationRow === undefined ? undefined : reservationIn(reservationRow)
    }
  }

  function* readClock(): Sql<number> {
    return integerOf((yield* firstRow(clock)) ?? {}, 'read_at')
  }

  function* writeBucket(bucket: string, { bornAt, level, keptUntil }: BucketRecord): Sql<void> {
    const numbers = [level.tokens, level.countedAt, level.lastUsableAt, level.rule.perSecond, level.rule.burst]
    yield* execute(update, bornAt, ...numbers.map(String), keptUntil, bucket)
  }

  function* write(
    bucket: string,
    idempotencyKey: string,
    { bucket: record, reservation }: { readonly bucket?: BucketRecord; readonly reservation?: ReservationRecord }
  ): Sql<void> {
    if (record !== undefined) yield* writeBucket(bucket, record)
    if (reservation !== undefined) {
      const { tokens, usableAt, perSecond, bornAt, cancelled, keptUntil } = reservation
      const numbers = [tokens, usableAt, perSecond].map(String)
      yield* execute(keep, bucket, idempotencyKey, ...numbers, bornAt, cancelled ? 1 : 0, keptUntil)
    }
  }

  function* reserve(bucket: string, claim: BucketClaim): Sql<BucketAnswer> {
    const { idempotencyKey } = claim
    const row = yield* locked(bucket)
    const { record, reservation, at } = yield* read(bucket, row, idempotencyKey)
    const result = claimTokens(record, reservation, claim, at)
    // Whoever adds one takes away what is over, so that there are never more than those of the last 90 s.
    if (result.reservation !== undefined) yield* changes(forget, bucket, at - SET_BACK_MS)
    yield* write(bucket, idempotencyKey, result)
    return result.answer
  }

  function* cancel(bucket: string, idempotencyKey: string): Sql<number> {
    const row = yield* firstRow(lock, bucket)
    const { record, reservation, at } = yield* read(bucket, row, idempotencyKey)
    const result = cancelTokens(record, reservation, at)
    yield* write(bucket, idempotencyKey, result)
    return result.returned
  }

  function* pause(bucket: string, given: BucketPause): Sql<void> {
    const row = yield* locked(bucket)
    const at = yield* readClock()
    yield* writeBucket(bucket, pauseTokens(row === undefined ? undefined : bucketIn(row), given, at))
  }

  return {
    supports: { durable: db.supports.durable, shared: db.supports.durable !== 'none' },
    async reserve(bucket, claim) {
      const checked = checkClaim('sqlTokenBucketStore.reserve', bucket, claim)
      return db.run(() => reserve(bucket, checked))
    },
    async cancel(bucket, idempotencyKey) {
      checkCancel('sqlTokenBucketStore.cancel', bucket, idempotencyKey)
      return db.run(() => cancel(bucket, idempotencyKey))
    },
    async pause(bucket, given) {
      const checked = checkPause('sqlTokenBucketStore.pause', bucket, given)
      return db.run(() => pause(bucket, checked))
    },
    sweep: {
      name: 'token-bucket.sweep',
      run: async ({ signal }) => {
        // The outer condition is looked at again where a row was changed meanwhile; that of the list is not.
        const over = `kept_until <= ${now} - ${SET_BACK_MS}`
        const buckets = `delete from token_buckets where ${over}
          and name in (select name from token_buckets where ${over} order by kept_until limit ${SWEPT_MAX})`
        const claims = `delete from token_reservations where ${over} and (bucket, idempotency_key) in
          (select bucket, idempotency_key from token_reservations where ${over} limit ${SWEPT_MAX})`
        const handled = await db.run(
          function* () {
            return (yield* changes(buckets)) + (yield* changes(claims))
          },
          { signal }
        )
        return { handled }
      }
    }
  }
}

function bucketIn(row: SqlRow): BucketRecord {
  return {
    bornAt: integerOf(row, 'born_at'),
    level: {
      tokens: doubleOf(row, 'tokens'),
      countedAt: doubleOf(row, 'counted_ms'),
      lastUsableAt: doubleOf(row, 'last_usable_ms'),
      rule: { perSecond: doubleOf(row, 'per_second'), burst: doubleOf(row, 'burst') }
    },
    keptUntil: integerOf(row, 'kept_until')
  }
}

function reservationIn(row: SqlRow): ReservationRecord {
  return {
    tokens: doubleOf(row, 'tokens'),
    usableAt: doubleOf(row, 'usable_ms'),
    perSecond: doubleOf(row, 'per_second'),
    bornAt: integerOf(row, 'born_at'),
    cancelled: integerOf(row, 'cancelled') === 1,
    keptUntil: integerOf(row, 'kept_until')
  }
}

function doubleOf(row: SqlRow, column: string): number {
  const text = textOf(row, column)
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value)) return value
  const reason = `column ${column} should hold a number and holds other text`
  throw new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
}
