import { concatBytes } from '@noble/hashes/utils.js'
import { jsonRows } from '../sql/json-rows.ts'
import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { execute, firstRow, rows, textOf } from '../sql/statement.ts'
import type { OutboxDraft, OutboxRef } from './outbox-message.ts'

/** A message that is to be put, and its id. */
interface NewMessage {
  readonly draft: OutboxDraft
  readonly id: string
}

/** Puts messages into one outbox, as parts of units. */
export interface MessagePuts {
  put(message: NewMessage): Sql<OutboxRef>
  /** As `put` for one after the other, in one statement. */
  putAll(messages: readonly NewMessage[]): Sql<OutboxRef[]>
}

/** What `used_on` counts. It changes once a day, so that a put mostly leaves its index alone. */
export const DAY_MS = 86_400_000

/** The puts into the outbox called `name`. */
export function messagePuts(dialect: SqlDialect, name: string): MessagePuts {
  const { now } = dialect
  // As a subquery it is read once a statement, when it is first needed, and not for each row.
  const nowOnce = `(select ${now})`
  const onPostgres = dialect.name === 'postgres'
  const columns = `id, outbox, idempotency_key, message_key, destination, payload_text, payload_bytes,
      put_at, budget_from_at, state, in_line, next_due_at`
  const once = 'on conflict (outbox, idempotency_key) where idempotency_key is not null do nothing returning id'
  // On Postgres a message could otherwise be numbered before one of its key and become visible after it. The key's row
  // stays locked until the unit ends, and the number is drawn when it is: the order of numbers is that of commits. On
  // SQLite one unit runs at a time.
  const locked = (keys: string): string => `locked as (
      insert into outbox_keys(outbox, message_key, used_on) ${keys}
      on conflict (outbox, message_key) do update set used_on = excluded.used_on returning used_on)`

  const inserted = `cast(? as text), cast(? as text), cast(? as text), cast(? as text), cast(? as text),
    cast(? as text), cast(? as ${onPostgres ? 'bytea' : 'blob'}), ${now}, ${now} + ?, 'pending', 1, ${now} + ?`
  // For one message a quarter faster than the text for any number of them.
  const insertText = `insert into outbox_messages(${columns}) select ${inserted} where true ${once}`
  const keyedText = onPostgres
    ? `with ${locked(`values (?, ?, ${now} / ${DAY_MS})`)}
      insert into outbox_messages(${columns}) select ${inserted} from locked ${once}`
    : insertText
  const travelling = jsonRows(dialect, {
    id: 'text',
    idempotency_key: 'text',
    message_key: 'text',
    destination: 'text',
    payload_text: 'text',
    bytes_from: 'integer',
    bytes_length: 'integer',
    delay_ms: 'integer'
  })
  // Without idempotency keys nothing can be in the way: looking for it and naming what was put is left out.
  const textsOfAll = (repeatable: boolean): { plain: string; keyed: string } => {
    const end = repeatable ? once : ''
    if (onPostgres) return { plain: onPostgresAll(false, end), keyed: onPostgresAll(true, end) }
    return { plain: onSqliteAll(end), keyed: onSqliteAll(end) }
  }
  const allOnce = textsOfAll(true)
  const allNew = textsOfAll(false)

  function onSqliteAll(end: string): string {
    // A part of an empty blob is null there.
    return `insert into outbox_messages(${columns})
      select id, cast(? as text), idempotency_key, message_key, destination, payload_text,
        case bytes_length when 0 then x'' else substr(cast(? as blob), bytes_from, bytes_length) end,
        ${nowOnce}, ${nowOnce} + delay_ms, 'pending', 1, ${nowOnce} + delay_ms
      from ${travelling.select} as given where true order by place ${end}`
  }

  /**
   * Two units that put to the same keys in different orders would wait for each other, so keys are locked in an order of
   * their own. The condition makes sure that all of them are locked before the first number is drawn. Without keys
   * looking for them would take a seventh of the time.
   */
  function onPostgresAll(keyed: boolean, end: string): string {
    const keys = `select cast(? as text), message_key, ${nowOnce} / ${DAY_MS} from given
        where message_key is not null group by message_key order by message_key collate "C"`
    return `with given as ${travelling.select}${keyed ? `,\n      ${locked(keys)}` : ''}
      insert into outbox_messages(${columns})
      select id, cast(? as text), idempotency_key, message_key, destination, payload_text,
        substring(cast(? as bytea) from cast(bytes_from as int) for cast(bytes_length as int)),
        ${nowOnce}, ${nowOnce} + delay_ms, 'pending', 1, ${nowOnce} + delay_ms
      from given ${keyed ? 'where (select count(*) from locked) >= 0' : ''} order by place ${end}`
  }

  const texts = jsonRows(dialect, { v: 'text' })
  const list = `select given.v from ${texts.select} as given`
  const listOf = (all: Iterable<string>): string => texts.parameter(Array.from(all, (v) => ({ v })))
  const duplicatesText = `select idempotency_key, id from outbox_messages
    where outbox = ? and idempotency_key in (${list})`
  const takeBackText = `delete from outbox_messages where id in (${list})`

  /** The messages that have the idempotency keys: a message may have been delivered and removed since it was in the way. */
  function* holdersOf(idempotencyKeys: readonly string[]): Sql<Map<string, string>> {
    const holders = new Map<string, string>()
    if (idempotencyKeys.length === 0) return holders
    for (const row of yield* rows(duplicatesText, name, listOf(idempotencyKeys))) {
      holders.set(textOf(row, 'idempotency_key'), textOf(row, 'id'))
    }
    return holders
  }

  return {
    *put({ draft: { payload, key, destination = name, idempotencyKey, delayMs = 0 }, id }) {
      const isText = typeof payload === 'string'
      const [text, bytes] = isText ? [payload, null] : [null, payload]
      const values = [id, name, idempotencyKey ?? null, key ?? null, destination, text, bytes, delayMs, delayMs]
      for (;;) {
        const queued =
          key === undefined
            ? yield* firstRow(insertText, ...values)
            : yield* firstRow(keyedText, ...(onPostgres ? [name, key, ...values] : values))
        if (queued !== undefined) return { outcome: 'queued', id }
        const [first] = (yield* holdersOf([idempotencyKey ?? ''])).values()
        if (first !== undefined) return { outcome: 'duplicate', id: first }
      }
    },
    *putAll(messages) {
      const { given, bytes } = travellersOf(messages, name)
      const parameter = travelling.parameter(given)
      const keyed = messages.some(({ draft }) => draft.key !== undefined)
      const values = onPostgres ? [parameter, ...(keyed ? [name] : []), name, bytes] : [name, bytes, parameter]
      const textOfAll = (texts: typeof allOnce): string => (keyed ? texts.keyed : texts.plain)
      if (messages.every(({ draft }) => draft.idempotencyKey === undefined)) {
        yield* execute(textOfAll(allNew), ...values)
        return messages.map(({ id }) => ({ outcome: 'queued', id }))
      }
      for (;;) {
        const queued = new Set((yield* rows(textOfAll(allOnce), ...values)).map((row) => textOf(row, 'id')))
        const repeated = messages.flatMap(({ id, draft }) => (queued.has(id) ? [] : [draft.idempotencyKey ?? '']))
        const holders = yield* holdersOf(repeated)
        if (repeated.every((key) => holders.has(key))) {
          return messages.map(({ id, draft }): OutboxRef => {
            const holder = queued.has(id) ? undefined : holders.get(draft.idempotencyKey ?? '')
            return holder === undefined ? { outcome: 'queued', id } : { outcome: 'duplicate', id: holder }
          })
        }
        // One that is to be put after all belongs before the later ones of its key: all are put again.
        yield* execute(takeBackText, listOf(queued))
      }
    }
  }
}

/**
 * Messages as the statement for many takes them: as rows, and the bytes, which JSON does not have, as one piece of which
 * each message with bytes has its place and length.
 */
function travellersOf(messages: readonly NewMessage[], name: string) {
  const pieces: Uint8Array[] = []
  let from = 1
  const given = messages.map(({ id, draft }) => {
    const { payload, key = null, destination = name, idempotencyKey = null, delayMs = 0 } = draft
    const isText = typeof payload === 'string'
    const row = {
      id,
      idempotency_key: idempotencyKey,
      message_key: key,
      destination,
      payload_text: isText ? payload : null,
      bytes_from: isText ? null : from,
      bytes_length: isText ? null : payload.length,
      delay_ms: delayMs
    }
    if (!isText) {
      pieces.push(payload)
      from += payload.length
    }
    return row
  })
  return { given, bytes: concatBytes(...pieces) }
}
