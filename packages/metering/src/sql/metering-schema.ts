import type { Schema } from '@enablement/core/sql'

/**
 * Metering's tables: the ledger of usage with its hourly totals, and quotas with the spends remembered under their
 * idempotency keys. Pass it to `migrate` once at start.
 */
export const meteringSchema: Schema = {
  component: 'metering',
  migrations: [
    {
      version: 1,
      name: 'usage and quotas',
      sqlite: tables({ integer: 'integer', options: ' strict', keyed: ' strict, without rowid' }),
      postgres: tables({ integer: 'bigint', options: '', keyed: '' })
    }
  ]
}

/**
 * A quantity may be 9e15 and a sum of a thousand such does not fit 64 bits, so sums are kept in two columns: whole
 * millions, and the rest. They hold 10^9 events of the largest quantity an hour.
 */
function tables({ integer, options, keyed }: { integer: string; options: string; keyed: string }): string[] {
  return [
    `create table metering_usage (
      tenant text not null, subscription text not null, transaction_id text not null,
      metric text not null, quantity ${integer} not null check (quantity between 0 and 9000000000000000),
      used_at ${integer} not null, properties text not null, payload_hash text not null, received_at ${integer} not null,
      primary key (tenant, subscription, transaction_id))${options}`,
    'create index metering_usage_by_time on metering_usage (tenant, subscription, used_at)',
    `create table metering_usage_hours (
      tenant text not null, subscription text not null, metric text not null, hour_at ${integer} not null,
      quantity_millions ${integer} not null, quantity_rest ${integer} not null, events ${integer} not null,
      primary key (tenant, subscription, metric, hour_at))${keyed}`,
    `create table metering_quotas (
      tenant text not null, limit_name text not null, subject text not null,
      starts_at ${integer} not null, ends_at ${integer} not null,
      used ${integer} not null check (used between 0 and 9000000000000000),
      primary key (tenant, limit_name, subject))${keyed}`,
    `create table metering_quota_spends (
      tenant text not null, limit_name text not null, subject text not null, idempotency_key text not null,
      amount ${integer} not null check (amount between 1 and 9000000000000000),
      remaining ${integer} not null check (remaining >= 0), resets_at ${integer}, expires_at ${integer} not null,
      primary key (tenant, limit_name, subject, idempotency_key))${keyed}`,
    'create index metering_quota_spends_by_expiry on metering_quota_spends (expires_at)'
  ]
}
