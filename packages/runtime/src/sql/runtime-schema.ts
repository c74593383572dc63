import type { Schema } from '@enablement/core/sql'

/** Runtime's tables: sealed checkpoints, and incidents whose open ones are found by tenant. */
export const runtimeSchema: Schema = {
  component: 'runtime',
  migrations: [
    {
      version: 1,
      name: 'checkpoints and incidents',
      sqlite: [
        `create table runtime_checkpoints (
          id text primary key, tenant text not null, sandbox_id text not null, created_at integer not null,
          expires_at integer not null, sealed blob not null) strict`,
        'create index runtime_checkpoints_expiry on runtime_checkpoints (expires_at)',
        'create index runtime_checkpoints_tenant on runtime_checkpoints (tenant, created_at, id)',
        `create table runtime_incidents (
          id text primary key, tenant text not null, is_open integer not null, detected_at integer not null,
          incident text not null) strict`,
        'create index runtime_incidents_tenant on runtime_incidents (tenant, is_open, detected_at, id)'
      ],
      postgres: [
        `create table runtime_checkpoints (
          id text primary key, tenant text not null, sandbox_id text not null, created_at bigint not null,
          expires_at bigint not null, sealed bytea not null)`,
        'create index runtime_checkpoints_expiry on runtime_checkpoints (expires_at)',
        'create index runtime_checkpoints_tenant on runtime_checkpoints (tenant, created_at, id)',
        `create table runtime_incidents (
          id text primary key, tenant text not null, is_open bigint not null, detected_at bigint not null,
          incident text not null)`,
        'create index runtime_incidents_tenant on runtime_incidents (tenant, is_open, detected_at, id)'
      ]
    }
  ]
}
