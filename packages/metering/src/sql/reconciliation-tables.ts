import type { ColumnTypes } from './column-types.ts'

/** Runs over all subscriptions with how far they have come, and what they found where it was not in order. */
export function reconciliationTables({ integer, options, keyed }: ColumnTypes): string[] {
  return [
    `create table metering_reconciliation_runs (
      run_id text not null primary key, started_at ${integer} not null, ended_at ${integer},
      page ${integer} not null, after_key text, checked ${integer} not null)${options}`,
    'create index metering_reconciliation_runs_by_start on metering_reconciliation_runs (started_at)',
    `create table metering_reconciliation_findings (
      run_id text not null, account_key text not null, period_from ${integer} not null, period_to ${integer} not null,
      tenant text not null, subscription text not null, outcome text not null, adjusted ${integer} not null,
      finding text not null, primary key (run_id, account_key, period_from))${keyed}`
  ]
}
