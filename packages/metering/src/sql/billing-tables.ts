import type { ColumnTypes } from './column-types.ts'

/**
 * Invoices, what waits for the next one, and subscriptions. Amounts and quantities of lines are decimal text: their sums
 * are made in bigint, for they may exceed 64 bits.
 */
export function billingTables({ integer, options, keyed }: ColumnTypes): string[] {
  return [
    `create table metering_billing_accounts (
      account_key text not null primary key, tenant text not null, subscription text not null,
      revision ${integer} not null, calendar text, next_from ${integer}, next_to ${integer},
      next_due_at ${integer}, ended_at ${integer})${options}`,
    `create index metering_billing_accounts_due on metering_billing_accounts (next_due_at)
      where next_due_at is not null`,
    `create table metering_invoices (
      tenant text not null, subscription text not null, period_from ${integer} not null, period_to ${integer} not null,
      status text not null check (status in ('draft', 'final')), invoice_id text not null, currency text not null,
      issued_at ${integer} not null, minor_units text not null,
      primary key (tenant, subscription, period_from, period_to))${options}`,
    `create table metering_invoice_lines (
      tenant text not null, subscription text not null, invoice_from ${integer} not null, invoice_to ${integer} not null,
      place ${integer} not null, kind text not null, description text not null,
      period_from ${integer} not null, period_to ${integer} not null, metric text, quantity text, events ${integer},
      minor_units text not null, exact text not null,
      primary key (tenant, subscription, invoice_from, invoice_to, place))${keyed}`,
    `create index metering_invoice_lines_by_period
      on metering_invoice_lines (tenant, subscription, period_from, period_to)`,
    `create table metering_pending_lines (
      account_key text not null, key_hash text not null, idempotency_key text not null,
      tenant text not null, subscription text not null, currency text not null,
      revision ${integer} not null, place ${integer} not null, taken_by text,
      kind text not null, description text not null,
      period_from ${integer} not null, period_to ${integer} not null, metric text, quantity text, events ${integer},
      minor_units text not null, exact text not null,
      primary key (account_key, key_hash))${options}`,
    `create index metering_pending_lines_waiting on metering_pending_lines (account_key, revision, place)
      where taken_by is null`,
    `create table metering_subscriptions (
      account_key text not null primary key, revision ${integer} not null, record text not null,
      next_due_at ${integer})${options}`,
    `create index metering_subscriptions_due on metering_subscriptions (next_due_at)
      where next_due_at is not null`,
    `create table metering_plan_changes (
      account_key text not null, key_hash text not null, fingerprint text not null,
      status text not null check (status in ('paying', 'done')), decision text not null,
      primary key (account_key, key_hash))${keyed}`
  ]
}
