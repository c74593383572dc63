import type { Sql, SqlDialect, SqlRow } from '../sql/sql-database.ts'
import { firstRow, integerOf, optionalIntegerOf } from '../sql/statement.ts'
import type { Destinations } from './destinations.ts'
import type { MessageTable } from './message-table.ts'
import { isDead, isDue, isParked } from './outbox-schema.ts'

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
  const counted = (kind: string): string =>
    `select ${dialect.now} as now, count(*) as messages, min(put_at) as oldest_at
      from outbox_messages where outbox = ? and ${kind}`
  const due = (yield* firstRow(counted(isDue), name)) ?? {}
  const parked = (yield* firstRow(counted(isParked), name)) ?? {}
  const dead =
    (yield* firstRow(
      `select count(*) as messages, count(case when in_line = 1 and message_key is not null then 1 end) as held_keys
      from outbox_messages where outbox = ? and ${isDead}`,
      name
    )) ?? {}
  const now = integerOf(due, 'now')
  const { lagMs } = yield* table.outlook(now)
  const oldestAt = (row: SqlRow): number => optionalIntegerOf(row, 'oldest_at') ?? now
  return {
    pending: integerOf(due, 'messages') + integerOf(parked, 'messages'),
    oldestAgeMs: Math.max(0, now - Math.min(oldestAt(due), oldestAt(parked))),
    lagMs,
    dead: integerOf(dead, 'messages'),
    heldKeys: integerOf(dead, 'held_keys'),
    backlogMax,
    brokenDestinations: destinations.broken()
  }
}
