import type { Schema } from '../sql/migration.ts'

/** The tables of shared breakers and token buckets in SQL. */
export const fleetSchema: Schema = {
  component: 'fleet',
  migrations: [
    {
      version: 1,
      name: 'shared breakers and token buckets',
      // `used_at` and `kept_until` are what the sweeps go by. A bucket's numbers are text, in which a double is exact.
      sqlite: [
        `create table breaker_states (
          name text primary key, generation integer not null, state text not null, breaks integer not null,
          break_ms integer not null, since_at integer not null, left_ms integer not null, owner text not null,
          claimed_at integer not null, lease_ms integer not null, used_at integer not null) strict, without rowid`,
        'create index breaker_states_used on breaker_states (used_at)',
        `create table token_buckets (
          name text primary key, born_at integer not null, tokens text not null, counted_ms text not null,
          last_usable_ms text not null, per_second text not null, burst text not null,
          kept_until integer not null) strict, without rowid`,
        'create index token_buckets_kept on token_buckets (kept_until)',
        `create table token_reservations (
          bucket text not null, idempotency_key text not null, tokens text not null, usable_ms text not null,
          per_second text not null, born_at integer not null, cancelled integer not null, kept_until integer not null,
          primary key (bucket, idempotency_key)) strict, without rowid`,
        'create index token_reservations_kept on token_reservations (bucket, kept_until)'
      ],
      postgres: [
        `create table breaker_states (
          name text primary key, generation bigint not null, state text not null, breaks bigint not null,
          break_ms bigint not null, since_at bigint not null, left_ms bigint not null, owner text not null,
          claimed_at bigint not null, lease_ms bigint not null, used_at bigint not null)`,
        'create index breaker_states_used on breaker_states (used_at)',
        `create table token_buckets (
          name text primary key, born_at bigint not null, tokens text not null, counted_ms text not null,
          last_usable_ms text not null, per_second text not null, burst text not null, kept_until bigint not null)`,
        'create index token_buckets_kept on token_buckets (kept_until)',
        `create table token_reservations (
          bucket text not null, idempotency_key text not null, tokens text not null, usable_ms text not null,
          per_second text not null, born_at bigint not null, cancelled integer not null, kept_until bigint not null,
          primary key (bucket, idempotency_key))`,
        'create index token_reservations_kept on token_reservations (bucket, kept_until)'
      ]
    }
  ]
}
