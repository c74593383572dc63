import type { JsonObject } from '@enablement/core'
import {
  firstRow,
  integerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import type { RecordedUsage, UsageFeed } from '../usage/usage-feed.ts'

/**
 * The feed of a ledger in a database that has taken `meteringSchema`.
 *
 * Where several units write at the same time, numbers are not committed in their order: 7 may be there while 6 is still
 * under way, and whoever remembers 7 then never sees 6. So it gives out no number before all units have ended that may
 * have taken a lower one. It notes the last number that was taken, and after that takes a transaction id of its own. A unit
 * that took a number had its id before (see `usage-tables.ts`), and so a lower one; when no lower id is under way any more,
 * all numbers up to the noted one are committed or never will be.
 *
 * No unit waits for this, and nothing is locked: a unit that takes long, anywhere on the server, holds back the feed alone.
 * Ids are compared within this process only, so a database that is restored on another server, whose ids begin anew, goes
 * on where it was. The end of a snapshot (`pg_snapshot_xmax`) would not do in place of the id: it is that of the last
 * transaction that has ended, and there may be later ones under way.
 */
export function sqlUsageFeed(db: SqlDatabase): UsageFeed {
  const horizon = db.dialect.name === 'postgres' ? postgresHorizon(db) : (): Promise<number> => db.run(lastSeq)
  return {
    async read({ after, limit, upTo }, options = {}) {
      const end = upTo ?? (await horizon(options))
      if (end <= after) return []
      const found = await db.run(
        () =>
          rows(
            `select recorded_seq, tenant, subscription, transaction_id, source, metric, quantity, used_at, received_at,
               properties
             from metering_usage where recorded_seq > ? and recorded_seq <= ? and state = 'counted'
             order by recorded_seq limit ?`,
            after,
            end,
            limit
          ),
        options
      )
      return found.map(usageOf)
    },
    end: (options = {}) => horizon(options)
  }
}

/** One writer at a time: what is committed is in order. */
function* lastSeq(): Sql<number> {
  return integerOf(
    (yield* firstRow('select coalesce(max(recorded_seq), 0) as last from metering_usage')) as SqlRow,
    'last'
  )
}

type Read = (options: { readonly signal?: AbortSignal }) => Promise<number>

function postgresHorizon(db: SqlDatabase): Read {
  let safe = 0
  /** A number that is waited for: it is safe when all transactions before `id` have ended. */
  let noted: { readonly seq: number; readonly id: bigint } | undefined

  return async (options) => {
    const seq = await db.run(lastTaken, options)
    // What was noted before may be safe by now, and what was taken since as well.
    for (let look = 0; look < 2 && seq > safe; look++) {
      // Another unit than the one before: its id comes after the number.
      const waited = noted ?? { seq, id: await db.run(ownId, options) }
      noted = waited
      if ((await db.run(oldestUnderWay, options)) < waited.id) break
      safe = Math.max(safe, waited.seq)
      // Somebody else who reads at the same time may have noted another.
      if (noted === waited) noted = undefined
    }
    return safe
  }
}

function* lastTaken(): Sql<number> {
  const row = yield* firstRow(
    'select case when is_called then last_value else 0 end as seq from metering_usage_recorded'
  )
  return integerOf(row as SqlRow, 'seq')
}

/** An id that is above all that were taken before. */
function* ownId(): Sql<bigint> {
  return BigInt(textOf((yield* firstRow('select cast(pg_current_xact_id() as text) as id')) as SqlRow, 'id'))
}

/** All transactions with a lower id have ended. */
function* oldestUnderWay(): Sql<bigint> {
  const row = yield* firstRow('select cast(pg_snapshot_xmin(pg_current_snapshot()) as text) as id')
  return BigInt(textOf(row as SqlRow, 'id'))
}

function usageOf(row: SqlRow): RecordedUsage {
  const source = optionalTextOf(row, 'source')
  return {
    position: integerOf(row, 'recorded_seq'),
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    transactionId: textOf(row, 'transaction_id'),
    ...(source === undefined ? {} : { source }),
    metric: textOf(row, 'metric'),
    quantity: integerOf(row, 'quantity'),
    at: integerOf(row, 'used_at'),
    receivedAt: integerOf(row, 'received_at'),
    properties: JSON.parse(textOf(row, 'properties')) as JsonObject
  }
}
