import type { Schema } from '../sql/migration.ts'

const messages = (integer: 'integer' | 'bigint', bytes: 'blob' | 'bytea', sequence: string): string =>
  `create table outbox_messages (
    sequence ${sequence},
    id text not null unique,
    outbox text not null,
    idempotency_key text,
    message_key text,
    destination text not null,
    payload_text text,
    payload_bytes ${bytes},
    put_at ${integer} not null,
    budget_from_at ${integer} not null,
    state text not null,
    in_line ${integer} not null,
    next_due_at ${integer},
    fence ${integer} not null default 0,
    attempts ${integer} not null default 0,
    unanswered ${integer} not null default 0,
    settled_at ${integer},
    reason text
  )`

/**
 * `in_line` is 1 while a message holds its place before the later ones of its key, which a dead one may go on doing.
 * `next_due_at` is NULL for a message that waits for one before it: removing that one makes it due. The index of what is
 * due has what claims filter by, so that rows passed over cost no look at the table; that of lines is for keyed messages. `budget_from_at` is when the first
 * attempt could begin: after the delay, and when no earlier message of its key stood before it.
 */
const indexes = [
  `create unique index outbox_messages_once on outbox_messages (outbox, idempotency_key)
    where idempotency_key is not null`,
  `create index outbox_messages_due on outbox_messages (outbox, next_due_at, unanswered, destination)
    where next_due_at is not null`,
  `create index outbox_messages_line on outbox_messages (outbox, message_key, sequence)
    where in_line = 1 and message_key is not null`,
  'create index outbox_messages_settled on outbox_messages (outbox, state, settled_at) where settled_at is not null'
]

/** The tables of outboxes: messages, and on Postgres the keys that writers queue on, one row each. */
export const outboxSchema: Schema = {
  component: 'outbox',
  migrations: [
    {
      version: 1,
      name: 'messages',
      sqlite: [`${messages('integer', 'blob', 'integer primary key autoincrement')} strict`, ...indexes],
      postgres: [
        messages('bigint', 'bytea', 'bigint generated always as identity primary key'),
        ...indexes,
        `create table outbox_keys (
          outbox text not null, message_key text not null, used_on bigint not null,
          primary key (outbox, message_key))`,
        'create index outbox_keys_used on outbox_keys (used_on)'
      ]
    }
  ]
}

/** The three kinds of messages that are kept until something happens to them, each with the index that finds it. */
export const isDue = 'next_due_at is not null'
/** They wait for an earlier one of their key. */
export const isParked = 'in_line = 1 and message_key is not null and next_due_at is null and settled_at is null'
export const isDead = "state = 'dead' and settled_at is not null"
