import type { Schema } from '../sql/migration.ts'

/**
 * The audit log's tables: entries; per tenant a head, which is the edge of its tree; the inner nodes at every eighth
 * level, from which proofs are made; checkpoints, where they are kept in SQL; and how far completeness sweeps have got.
 * An entry without a leaf index is not sealed yet.
 */
export const auditSchema: Schema = {
  component: 'audit',
  migrations: [
    {
      version: 1,
      name: 'entries, trees and checkpoints',
      sqlite: [
        `create table audit_entries (
          position integer primary key, tenant text not null, id text not null unique, leaf_index integer,
          leaf_hash blob not null, action text not null, subject text not null, entry text not null,
          detail text, salt blob) strict`,
        'create unique index audit_leaves on audit_entries (tenant, leaf_index) where leaf_index is not null',
        'create index audit_unsealed on audit_entries (tenant, position) where leaf_index is null',
        'create index audit_subjects on audit_entries (tenant, subject, action)',
        `create table audit_heads (
          tenant text primary key, size integer not null, edge blob not null, signed_size integer not null,
          checkpoint text) strict, without rowid`,
        'create index audit_unsigned on audit_heads (tenant) where size > signed_size',
        `create table audit_nodes (
          tenant text not null, level integer not null, node_index integer not null, hash blob not null,
          primary key (tenant, level, node_index)) strict, without rowid`,
        'create table audit_origins (origin text primary key) strict, without rowid',
        `create table audit_checkpoints (
          origin text not null, size integer not null, note text not null, kept_at integer not null,
          primary key (origin, size)) strict, without rowid`,
        `create table audit_sweeps (
          source text primary key, cursor text, started_at integer not null, due_at integer not null,
          checked integer not null, gaps integer not null) strict, without rowid`
      ],
      postgres: [
        `create table audit_entries (
          position bigint generated always as identity primary key, tenant text not null, id text not null unique,
          leaf_index bigint, leaf_hash bytea not null, action text not null, subject text not null, entry text not null,
          detail text, salt bytea)`,
        'create unique index audit_leaves on audit_entries (tenant, leaf_index) where leaf_index is not null',
        'create index audit_unsealed on audit_entries (tenant, position) where leaf_index is null',
        'create index audit_subjects on audit_entries (tenant, subject, action)',
        `create table audit_heads (
          tenant text primary key, size bigint not null, edge bytea not null, signed_size bigint not null,
          checkpoint text)`,
        'create index audit_unsigned on audit_heads (tenant) where size > signed_size',
        `create table audit_nodes (
          tenant text not null, level bigint not null, node_index bigint not null, hash bytea not null,
          primary key (tenant, level, node_index))`,
        'create table audit_origins (origin text primary key)',
        `create table audit_checkpoints (
          origin text not null, size bigint not null, note text not null, kept_at bigint not null,
          primary key (origin, size))`,
        `create table audit_sweeps (
          source text primary key, cursor text, started_at bigint not null, due_at bigint not null,
          checked bigint not null, gaps bigint not null)`
      ]
    }
  ]
}
