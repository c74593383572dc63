import type { ColumnTypes } from './column-types.ts'

/**
 * Quotas. A tenant's row is locked by every call on its behalf: it is the one order in which calls wait for each other.
 * `detail` has what only a rolling counter (its slices) or a bucket (its rate) has; `parts`, what a hold took from where.
 */
export function quotaTables({ integer, keyed }: ColumnTypes): string[] {
  const quantity = `${integer} not null check (`
  return [
    `create table metering_quota_tenants (
      tenant text not null primary key,
      open_holds ${integer} not null check (open_holds >= 0), next_expiry_at ${integer} not null)${keyed}`,
    `create table metering_quota_counters (
      tenant text not null, limit_name text not null, path text not null,
      kind text not null, starts_at ${integer} not null, ends_at ${integer} not null,
      used ${quantity}used between 0 and 9000000000000000),
      held ${quantity}held between 0 and used),
      detail text, forget_at ${integer} not null,
      primary key (tenant, limit_name, path))${keyed}`,
    'create index metering_quota_counters_by_forgetting on metering_quota_counters (forget_at)',
    `create table metering_quota_spends (
      tenant text not null, scope text not null, idempotency_key text not null,
      amount ${quantity}amount between 1 and 9000000000000000),
      remaining ${quantity}remaining >= 0), resets_at ${integer}, expires_at ${integer} not null,
      primary key (tenant, scope, idempotency_key))${keyed}`,
    'create index metering_quota_spends_by_expiry on metering_quota_spends (expires_at)',
    `create table metering_quota_holds (
      tenant text not null, scope_key text not null, hold_key text not null, scope text not null,
      asked ${quantity}asked between 1 and 9000000000000000),
      amount ${quantity}amount between 1 and 9000000000000000),
      expires_at ${integer} not null, on_expiry text not null, keep_ms ${integer} not null, parts text not null,
      actual ${integer}, charged ${integer}, overrun ${integer}, expired ${integer}, settled ${integer},
      forget_at ${integer},
      primary key (tenant, scope_key, hold_key))${keyed}`,
    'create index metering_quota_holds_by_expiry on metering_quota_holds (expires_at) where forget_at is null',
    `create index metering_quota_holds_of_tenant on metering_quota_holds (tenant, expires_at) where forget_at is null`,
    'create index metering_quota_holds_by_forgetting on metering_quota_holds (forget_at) where forget_at is not null'
  ]
}
