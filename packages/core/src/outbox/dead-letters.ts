import type { Sql, SqlDialect, SqlRow } from '../sql/sql-database.ts'
import {
  bytesOf,
  changes,
  firstRow,
  integerOf,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  textOf
} from '../sql/statement.ts'
import type { MessageTable } from './message-table.ts'

/** A message as operators see it: without its payload. */
export interface OutboxEntry {
  readonly id: string
  /** The place in the outbox; the `after` of the next page. */
  readonly sequence: number
  readonly key: string | undefined
  readonly destination: string
  readonly state: 'pending' | 'dead' | 'delivered'
  /** Whether later messages of its key wait for it. */
  readonly holdsKey: boolean
  /** Attempts since it was put or revived. */
  readonly attempts: number
  /** The last attempt's error code, of a dead one. */
  readonly reason: string | undefined
  /** Epoch milliseconds by the store's clock, as the others here. */
  readonly putAt: number
  /** When it is attempted next, or its lease ends; undefined while it waits for another one, and when it is settled. */
  readonly nextDueAt: number | undefined
  /** When it died or was delivered. */
  readonly settledAt: number | undefined
}

/** What became of a message that was to be revived. */
export type Revival =
  /** It is due now, with all its attempts and time before it. */
  | { readonly outcome: 'revived' }
  | { readonly outcome: 'not-dead'; readonly state: 'pending' | 'delivered' }
  | { readonly outcome: 'unknown' }

/** What became of a message that was to be dropped. */
export type Removal =
  | { readonly outcome: 'dropped' }
  /** It is being delivered, or its worker died over it and the lease has not ended. */
  | { readonly outcome: 'busy' }
  | { readonly outcome: 'unknown' }

/** What operators do with the messages of one outbox. */
export interface DeadLetters {
  list(page: {
    readonly state: OutboxEntry['state']
    readonly after: number
    readonly limit: number
  }): Sql<OutboxEntry[]>
  revive(id: string): Sql<Revival>
  drop(id: string): Sql<Removal>
}

export function deadLettersOf(dialect: SqlDialect, name: string, table: MessageTable): DeadLetters {
  const { now, forUpdate } = dialect
  const listText = `select id, sequence, message_key, destination, state, in_line, attempts, reason, put_at,
      next_due_at, settled_at
    from outbox_messages where outbox = ? and state = ? and sequence > ? order by sequence limit ?`
  const findText = 'select state, in_line, message_key from outbox_messages where outbox = ? and id = ?'
  const reviveText = `update outbox_messages set state = 'pending', in_line = 1, next_due_at = ${now},
      budget_from_at = ${now}, attempts = 0, unanswered = 0, settled_at = null, reason = null
    where id = ? and state = 'dead'`
  const takeText = `delete from outbox_messages where id = ? and state = 'dead' and in_line = 0
    returning idempotency_key, message_key, destination, payload_text, payload_bytes`
  const dropText = `delete from outbox_messages where id = ? and (unanswered < 1 or next_due_at <= ${now})`

  return {
    *list({ state, after, limit }) {
      return (yield* rows(listText, name, state, after, limit)).map(entryOf)
    },
    *revive(id) {
      const found = yield* firstRow(`${findText}${forUpdate}`, name, id)
      if (found === undefined) return { outcome: 'unknown' }
      const state = stateOf(found)
      if (state !== 'dead') return { outcome: 'not-dead', state }
      if (found['message_key'] === null || integerOf(found, 'in_line') === 1) {
        yield* changes(reviveText, id)
        return { outcome: 'revived' }
      }
      // Others of its key have gone before it: it is numbered anew, and comes after all that are there.
      const taken = yield* firstRow(takeText, id)
      if (taken === undefined) return { outcome: 'unknown' }
      const idempotencyKey = optionalTextOf(taken, 'idempotency_key')
      const draft = {
        key: textOf(taken, 'message_key'),
        destination: textOf(taken, 'destination'),
        payload: optionalTextOf(taken, 'payload_text') ?? bytesOf(taken, 'payload_bytes'),
        ...(idempotencyKey === undefined ? {} : { idempotencyKey })
      }
      yield* table.put({ id, draft })
      return { outcome: 'revived' }
    },
    *drop(id) {
      const found = yield* firstRow(findText, name, id)
      if (found === undefined) return { outcome: 'unknown' }
      const key = optionalTextOf(found, 'message_key')
      // Whoever removes the first message of the key at the same time would make this one due, and leave the next behind.
      if (key !== undefined) yield* table.lockHead(key)
      if ((yield* changes(dropText, id)) === 0) {
        const left = yield* firstRow(findText, name, id)
        return { outcome: left === undefined ? 'unknown' : 'busy' }
      }
      if (key !== undefined) yield* table.promote([key])
      return { outcome: 'dropped' }
    }
  }
}

function entryOf(row: SqlRow): OutboxEntry {
  return {
    id: textOf(row, 'id'),
    sequence: integerOf(row, 'sequence'),
    key: optionalTextOf(row, 'message_key'),
    destination: textOf(row, 'destination'),
    state: stateOf(row),
    holdsKey: row['message_key'] !== null && integerOf(row, 'in_line') === 1,
    attempts: integerOf(row, 'attempts'),
    reason: optionalTextOf(row, 'reason'),
    putAt: integerOf(row, 'put_at'),
    nextDueAt: optionalIntegerOf(row, 'next_due_at'),
    settledAt: optionalIntegerOf(row, 'settled_at')
  }
}

function stateOf(row: SqlRow): OutboxEntry['state'] {
  const state = textOf(row, 'state')
  return state === 'dead' || state === 'delivered' ? state : 'pending'
}
