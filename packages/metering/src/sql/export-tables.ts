import type { ColumnTypes } from './column-types.ts'

/** How far usage has been exported, by exporter, and what a target will not take. */
export function exportTables({ integer, options, keyed }: ColumnTypes): string[] {
  return [
    `create table metering_exports (
      name text not null primary key, next_due_at ${integer}, fence ${integer} not null default 0,
      attempts ${integer} not null default 0, unanswered ${integer} not null default 0,
      position ${integer} not null, up_to ${integer}, begun_at ${integer})${options}`,
    'create index metering_exports_due on metering_exports (next_due_at) where next_due_at is not null',
    `create table metering_export_refusals (
      name text not null, position ${integer} not null, tenant text not null, subscription text not null,
      transaction_id text not null, metric text not null, reason text not null, refused_at ${integer} not null,
      primary key (name, position))${keyed}`
  ]
}
