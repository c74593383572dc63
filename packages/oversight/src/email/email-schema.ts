import type { Schema } from '@enablement/core/sql'

const tables = (integer: 'integer' | 'bigint', strict: ' strict' | ''): readonly string[] => [
  `create table email_addresses (
    address text primary key,
    counted_from ${integer} not null,
    accepted_message text,
    accepted_at ${integer},
    invalid_since ${integer},
    kept_until ${integer} not null
  )${strict}`,
  'create index email_addresses_kept on email_addresses (kept_until)',
  // `ended` is how: null while it may still get through. `invitations` is the JSON of what was entered.
  `create table email_mails (
    address text not null,
    message_id text not null,
    soft_failures ${integer} not null,
    ended text,
    ended_at ${integer},
    invitations text,
    kept_until ${integer} not null,
    primary key (address, message_id)
  )${strict}`,
  'create index email_mails_kept on email_mails (kept_until)',
  'create index email_mails_message on email_mails (message_id)',
  // Of an address that has bounced, those are counted again and again, among all that it was sent.
  "create index email_mails_hard on email_mails (address, ended_at) where ended = 'hard'"
]

/** The tables of address health: addresses that have bounced, and mails that went out or were refused. */
export const emailSchema: Schema = {
  component: 'oversight-email',
  migrations: [
    {
      version: 1,
      name: 'addresses and mails',
      sqlite: tables('integer', ' strict'),
      postgres: tables('bigint', '')
    }
  ]
}
