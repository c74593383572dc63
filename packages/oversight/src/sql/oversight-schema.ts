import type { Schema } from '@enablement/core/sql'

const tables = (integer: 'integer' | 'bigint', strict: ' strict' | ''): readonly string[] => [
  `create table oversight_requests (
    id text primary key,
    tenant text not null,
    idempotency_key text not null,
    action text not null,
    argument_hash text not null,
    agent text not null,
    on_behalf_of text,
    summary text not null,
    detail text not null,
    policy text not null,
    opened_at ${integer} not null,
    status text not null,
    tier ${integer} not null,
    tier_ends_at ${integer},
    started_late ${integer} not null,
    queued ${integer} not null,
    deadline_at ${integer},
    next_due_at ${integer},
    settled_by text,
    settled_at ${integer},
    settled_reason text,
    refused_votes ${integer} not null,
    execution_state text not null,
    execution_fence ${integer} not null,
    execution_claim text,
    execution_since ${integer},
    execution_lease_until ${integer},
    execution_result text,
    unique (tenant, idempotency_key)
  )${strict}`,
  'create index oversight_requests_due on oversight_requests (next_due_at) where next_due_at is not null',
  `create index oversight_requests_leased on oversight_requests (execution_lease_until)
    where execution_lease_until is not null`,
  `create table oversight_votes (
    request_id text not null references oversight_requests (id),
    approver text not null,
    decision text not null,
    reason text,
    idempotency_key text,
    argument_hash text not null,
    voted_at ${integer} not null,
    ordinal ${integer} not null,
    primary key (request_id, approver)
  )${strict}`,
  `create table oversight_deliveries (
    id text primary key,
    request_id text not null references oversight_requests (id),
    kind text not null,
    tier ${integer} not null,
    approver text not null,
    channel text not null,
    state text not null,
    attempts ${integer} not null,
    due_at ${integer},
    receipt text
  )${strict}`,
  'create index oversight_deliveries_of on oversight_deliveries (request_id)',
  'create index oversight_deliveries_due on oversight_deliveries (due_at) where due_at is not null'
]

/** The tables of oversight: requests with their execution, votes, and the outbox of deliveries. */
export const oversightSchema: Schema = {
  component: 'oversight',
  migrations: [
    {
      version: 1,
      name: 'requests, votes and deliveries',
      sqlite: tables('integer', ' strict'),
      postgres: tables('bigint', '')
    }
  ]
}
