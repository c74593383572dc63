import type { ColumnTypes } from './column-types.ts'

/**
 * The ledger of quotas that are counted elsewhere. `metering_quota_ledger` is appended to and never changed: what each step
 * took from each counter. Beside it stands what the latest step of each said, from which counters are made again.
 */
export function quotaLedgerTables({ integer, keyed }: ColumnTypes): string[] {
  return [
    `create table metering_quota_epochs (tenant text not null primary key, epoch ${integer} not null)${keyed}`,
    `create table metering_quota_ledger (
      tenant text not null, epoch ${integer} not null, revision ${integer} not null, counter text not null,
      units ${integer} not null, appended_at ${integer} not null,
      primary key (tenant, epoch, revision, counter))${keyed}`,
    'create index metering_quota_ledger_by_age on metering_quota_ledger (appended_at)',
    `create table metering_quota_ledger_counters (
      tenant text not null, counter text not null, epoch ${integer} not null, revision ${integer} not null,
      state text not null, forget_at ${integer} not null, primary key (tenant, counter))${keyed}`,
    'create index metering_quota_ledger_counters_by_end on metering_quota_ledger_counters (forget_at)',
    `create table metering_quota_ledger_holds (
      tenant text not null, hold text not null, epoch ${integer} not null, revision ${integer} not null,
      body text not null, expires_at ${integer} not null, forget_at ${integer} not null,
      primary key (tenant, hold))${keyed}`,
    'create index metering_quota_ledger_holds_by_end on metering_quota_ledger_holds (forget_at)',
    `create table metering_quota_ledger_spends (
      tenant text not null, token text not null, memory_ms ${integer} not null, body text not null,
      expires_at ${integer} not null, primary key (tenant, token))${keyed}`,
    'create index metering_quota_ledger_spends_by_end on metering_quota_ledger_spends (expires_at)'
  ]
}
