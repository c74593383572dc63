import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { firstRow, integerOf, optionalIntegerOf } from '../sql/statement.ts'
import type { Destinations } from './destinations.ts'
import type { MessageTable } from './message-table.ts'

/** How an outbox fares. Times are by the store's clock. */
export interface OutboxHealth {
  /** Messages that are not delivered and not dead, those under way anywhere included. */
  readonly pending: number
  /** The age of the oldest of them; 0 when there is none. */
  readonly oldestAgeMs: number
  /** How long the message that has waited longest has been due; 0 when none waits. */
  readonly lagMs: number
  readonly dead: number
  /** Keys whose later messages wait for a dead one. */
  readonly heldKeys: number
  /** Of `pending` and `dead` together; when they reach it, puts are refused. */
  readonly backlogMax: number
  /** Destinations that this process keeps messages from, or sends no more than probes to. */
  readonly brokenDestinations: readonly string[]
}

export function* outboxHealth(
  dialect: SqlDialect,
  name: string,
  {
    table,
    backlogMax,
    destinations
  }: {
    readonly table: MessageTable
    readonly backlogMax: number
    readonly destinations: Destinations
  }
): Sql<OutboxHealth> {
  const line = yield* firstRow(
    `select ${dialect.now} as now, count(*) as messages, count(settled_at) as held,
      count(case when settled_at is not null and message_key is not null then 1 end) as held_keys,
      min(case when settled_at is null then put_at end) as oldest_at
    from outbox_messages where outbox = ? and in_line = 1`,
    name
  )
  const graves = yield* firstRow(
    `select count(*) as dead from outbox_messages where outbox = ? and state = 'dead' and settled_at is not null`,
    name
  )
  const row = line ?? {}
  const now = integerOf(row, 'now')
  const { lagMs } = yield* table.outlook(now)
  return {
    pending: integerOf(row, 'messages') - integerOf(row, 'held'),
    oldestAgeMs: Math.max(0, now - (optionalIntegerOf(row, 'oldest_at') ?? now)),
    lagMs,
    dead: integerOf(graves ?? {}, 'dead'),
    heldKeys: integerOf(row, 'held_keys'),
    backlogMax,
    brokenDestinations: destinations.broken()
  }
}
