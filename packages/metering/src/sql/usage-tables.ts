import type { ColumnTypes } from './column-types.ts'

/**
 * The transaction has its id before it takes a number, because `case` evaluates its condition first: whoever knows the
 * last number, and then waits for all transactions that have an id, waits for all that took a number up to it.
 */
const RECORDED_ON_POSTGRES = `recorded_seq bigint not null
        default (case when pg_current_xact_id() is not null then nextval('metering_usage_recorded') end)`

/**
 * The ledger of usage with its hourly rollups.
 *
 * What is set aside is in the ledger, too, with another `state`: one unique index then says for all of it what is new.
 * `used_at` is the time that an event is counted under, and `reported_at` the one that its sender gave if that is another.
 *
 * A quantity may be 9e15 and a sum of a thousand such does not fit 64 bits, so sums are kept in two columns: whole
 * millions, and the rest. They hold 10^9 events of the largest quantity an hour. `peak` is the largest quantity, or the
 * one that was used last, at `peak_at` and received at `peak_received_at`. What is late has rows of its own, so that a
 * total can leave it out.
 *
 * `recorded_seq` is the order of recording, for `sqlUsageFeed`: it grows with every event that is taken, and an event that
 * is released takes a new one.
 */
export function usageTables({ dialect, integer, options, keyed }: ColumnTypes): string[] {
  const onPostgres = dialect === 'postgres'
  return [
    ...(onPostgres ? ['create sequence metering_usage_recorded'] : []),
    `create table metering_usage (
      ${onPostgres ? RECORDED_ON_POSTGRES : 'recorded_seq integer primary key autoincrement'},
      tenant text not null, subscription text not null, transaction_id text not null, source text,
      metric text not null, quantity ${integer} not null check (quantity between 0 and 9000000000000000),
      used_at ${integer} not null, reported_at ${integer}, properties text not null, payload_hash text not null,
      received_at ${integer} not null, counted_at ${integer} not null,
      state text not null check (state in ('counted', 'quarantine', 'review', 'discarded')),
      rollup text not null check (rollup in ('sum', 'max', 'latest', 'unique')), unique_value text,
      late ${integer} not null check (late in (0, 1)), period_at ${integer}, period_ends_at ${integer},
      unconfirmed ${integer} not null check (unconfirmed in (0, 1)), decided_by text,
      ${onPostgres ? 'primary key' : 'unique'} (tenant, subscription, transaction_id))${options}`,
    ...(onPostgres ? ['create index metering_usage_by_recording on metering_usage (recorded_seq)'] : []),
    'create index metering_usage_by_time on metering_usage (tenant, subscription, used_at)',
    `create index metering_usage_values on metering_usage (tenant, subscription, metric, used_at, unique_value)
      where unique_value is not null`,
    'create index metering_usage_late on metering_usage (tenant, subscription, counted_at) where late = 1',
    `create index metering_usage_set_aside on metering_usage
      (tenant, state, received_at, subscription, transaction_id) where state in ('quarantine', 'review')`,
    `create table metering_usage_hours (
      tenant text not null, subscription text not null, metric text not null, rollup text not null,
      late ${integer} not null, hour_at ${integer} not null,
      quantity_millions ${integer} not null, quantity_rest ${integer} not null, events ${integer} not null,
      peak ${integer} not null, peak_at ${integer} not null, peak_received_at ${integer} not null,
      primary key (tenant, subscription, metric, rollup, late, hour_at))${keyed}`
  ]
}
