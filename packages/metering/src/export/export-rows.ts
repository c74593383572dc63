import {
  execute,
  firstRow,
  integerOf,
  jsonRows,
  optionalIntegerOf,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import type { RecordedUsage } from '../usage/usage-feed.ts'

/** How far an exporter has come. */
export interface ExportPlace {
  /** All up to here is dealt with. */
  readonly position: number
  /** The end of the events that are being sent, and since when. */
  readonly upTo: number | undefined
  readonly begunAt: number | undefined
}

/** An event that a target does not take. */
export interface RefusedUsage {
  readonly position: number
  readonly tenant: string
  readonly subscription: string
  readonly transactionId: string
  readonly metric: string
  readonly reason: string
  /** Epoch milliseconds. */
  readonly refusedAt: number
}

export function* insertExport(name: string, position: number, now: string): Sql<void> {
  yield* execute(
    `insert into metering_exports(name, position, next_due_at) values (?, ?, ${now}) on conflict do nothing`,
    name,
    position
  )
}

export function* readPlace(name: string): Sql<ExportPlace | undefined> {
  const row = yield* firstRow('select position, up_to, begun_at from metering_exports where name = ?', name)
  return row === undefined ? undefined : placeOf(row)
}

export function placeOf(row: SqlRow): ExportPlace {
  return {
    position: integerOf(row, 'position'),
    upTo: optionalIntegerOf(row, 'up_to'),
    begunAt: optionalIntegerOf(row, 'begun_at')
  }
}

/** Moves an exporter, if it is still held under the fence, and says whether it was. */
export function* movePlace(name: string, fence: number, to: ExportPlace): Sql<boolean> {
  const { changes } = yield* execute(
    'update metering_exports set position = ?, up_to = ?, begun_at = ? where name = ? and fence = ? and unanswered > 0',
    to.position,
    to.upTo ?? null,
    to.begunAt ?? null,
    name,
    fence
  )
  return changes === 1
}

export function* insertRefusals(
  dialect: SqlDialect,
  name: string,
  refused: readonly { readonly usage: RecordedUsage; readonly reason: string }[]
): Sql<void> {
  const given = jsonRows(dialect, {
    position: 'integer',
    tenant: 'text',
    subscription: 'text',
    transaction_id: 'text',
    metric: 'text',
    reason: 'text'
  })
  yield* execute(
    `insert into metering_export_refusals(name, position, tenant, subscription, transaction_id, metric, reason, refused_at)
     select cast(? as text), position, tenant, subscription, transaction_id, metric, reason, ${dialect.now}
     from ${given.select} as given where true on conflict do nothing`,
    name,
    given.parameter(
      refused.map(({ usage, reason }) => ({
        position: usage.position,
        tenant: usage.tenant,
        subscription: usage.subscription,
        transaction_id: usage.transactionId,
        metric: usage.metric,
        reason
      }))
    )
  )
}

/** How many are set aside, counted up to `limit`. */
export function* countRefusals(name: string, limit: number): Sql<number> {
  const row = yield* firstRow(
    'select count(*) as count from (select 1 as one from metering_export_refusals where name = ? limit ?) as counted',
    name,
    limit
  )
  return integerOf(row as SqlRow, 'count')
}

export function* readRefusals(name: string, after: number, limit: number): Sql<readonly RefusedUsage[]> {
  const found = yield* rows(
    `select position, tenant, subscription, transaction_id, metric, reason, refused_at from metering_export_refusals
     where name = ? and position > ? order by position limit ?`,
    name,
    after,
    limit
  )
  return found.map((row) => ({
    position: integerOf(row, 'position'),
    tenant: textOf(row, 'tenant'),
    subscription: textOf(row, 'subscription'),
    transactionId: textOf(row, 'transaction_id'),
    metric: textOf(row, 'metric'),
    reason: textOf(row, 'reason'),
    refusedAt: integerOf(row, 'refused_at')
  }))
}

export function* deleteRefusal(name: string, position: number): Sql<boolean> {
  const { changes } = yield* execute(
    'delete from metering_export_refusals where name = ? and position = ?',
    name,
    position
  )
  return changes === 1
}
