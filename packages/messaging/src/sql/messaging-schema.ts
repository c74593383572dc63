import type { Schema } from '@enablement/core/sql'

/** The tables behind `sqlMessageStore`. Records are sealed; addresses, ids, sizes and instants are in the clear. */
export const messagingSchema: Schema = {
  component: 'messaging',
  migrations: [
    {
      version: 1,
      name: 'sessions, prekeys, outbox and inbox',
      sqlite: [
        `create table messaging_session (
          owner text not null, peer text not null, version integer not null, record blob not null,
          primary key (owner, peer)) strict`,
        `create table messaging_prekey_stock (
          owner text primary key, version integer not null, next_id integer not null) strict`,
        `create table messaging_prekey (
          owner text not null, kind text not null, id integer not null, record blob not null,
          created_at integer not null, published_at integer not null,
          primary key (owner, kind, id)) strict`,
        `create table messaging_base_key (
          owner text not null, signed_prekey_id integer not null, base_key blob not null,
          primary key (owner, signed_prekey_id, base_key)) strict`,
        `create table messaging_outbox (
          sequence integer primary key, owner text not null, id text not null, peer text not null,
          idempotency_key text, digest blob, envelope blob not null, status text not null,
          queued_at integer not null, expires_at integer not null,
          unique (owner, id), unique (owner, idempotency_key)) strict`,
        `create index messaging_outbox_queued on messaging_outbox (owner, peer, sequence) where status = 'queued'`,
        `create index messaging_outbox_due on messaging_outbox (owner, expires_at)`,
        `create table messaging_inbox (
          sequence integer primary key, owner text not null, id text not null, peer text not null,
          record blob not null, received_at integer not null,
          unique (owner, id)) strict`,
        `create index messaging_inbox_peer on messaging_inbox (owner, peer, sequence)`
      ],
      postgres: [
        `create table messaging_session (
          owner text not null, peer text not null, version bigint not null, record bytea not null,
          primary key (owner, peer))`,
        `create table messaging_prekey_stock (
          owner text primary key, version bigint not null, next_id bigint not null)`,
        `create table messaging_prekey (
          owner text not null, kind text not null, id bigint not null, record bytea not null,
          created_at bigint not null, published_at bigint not null,
          primary key (owner, kind, id))`,
        `create table messaging_base_key (
          owner text not null, signed_prekey_id bigint not null, base_key bytea not null,
          primary key (owner, signed_prekey_id, base_key))`,
        `create table messaging_outbox (
          sequence bigint generated always as identity primary key, owner text not null, id text not null,
          peer text not null, idempotency_key text, digest bytea, envelope bytea not null, status text not null,
          queued_at bigint not null, expires_at bigint not null,
          unique (owner, id), unique (owner, idempotency_key))`,
        `create index messaging_outbox_queued on messaging_outbox (owner, peer, sequence) where status = 'queued'`,
        `create index messaging_outbox_due on messaging_outbox (owner, expires_at)`,
        `create table messaging_inbox (
          sequence bigint generated always as identity primary key, owner text not null, id text not null,
          peer text not null, record bytea not null, received_at bigint not null,
          unique (owner, id))`,
        `create index messaging_inbox_peer on messaging_inbox (owner, peer, sequence)`
      ]
    }
  ]
}
