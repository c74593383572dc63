import type { Schema } from '../sql/migration.ts'

/** The audit log's tables: the entries, and one head row per tenant that appends queue on. */
export const auditSchema: Schema = {
  component: 'audit',
  migrations: [
    {
      version: 1,
      name: 'entries and heads',
      sqlite: [
        `create table audit_heads (
          tenant text primary key, sequence integer not null, hash text not null) strict`,
        `create table audit_entries (
          tenant text not null, sequence integer not null, entry text not null, hash text not null,
          primary key (tenant, sequence)) strict, without rowid`
      ],
      postgres: [
        `create table audit_heads (
          tenant text primary key, sequence bigint not null, hash text not null)`,
        `create table audit_entries (
          tenant text not null, sequence bigint not null, entry text not null, hash text not null,
          primary key (tenant, sequence))`
      ]
    }
  ]
}
