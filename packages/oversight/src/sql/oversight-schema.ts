import type { Schema } from '@enablement/core/sql'

/**
 * A request is one row: what is asked and how far it has got are JSON, since a step reads and writes all of it under the
 * row's lock, and what requests are looked up by are columns beside it. `identity_key` is NULL once it is settled, so that
 * only open ones coalesce. Policies are kept once for all requests that were opened under them. `oversight_keys` has a row for each idempotency key, of which several may have been given the
 * same request. `oversight_asked` has a row for each person whom an open request waits for.
 */
const tables = (
  integer: 'integer' | 'bigint',
  strict: ' strict' | '',
  narrow: ' strict, without rowid' | ''
): readonly string[] => [
  `create table oversight_requests (
    id text primary key,
    tenant text not null,
    action text not null,
    status text not null,
    identity_key ${integer} unique,
    next_due_at ${integer},
    execution_due_at ${integer},
    policy_version text not null,
    matter text not null,
    course text not null
  )${strict}`,
  'create index oversight_requests_due on oversight_requests (next_due_at) where next_due_at is not null',
  `create index oversight_requests_execution on oversight_requests (execution_due_at)
    where execution_due_at is not null`,
  'create index oversight_requests_of on oversight_requests (tenant, id)',
  `create table oversight_policies (
    version text primary key,
    policy text not null
  )${strict}`,
  `create table oversight_keys (
    tenant text not null,
    idempotency_key text not null,
    request_id text not null,
    primary key (tenant, idempotency_key)
  )${narrow}`,
  `create table oversight_asked (
    tenant text not null,
    approver text not null,
    request_id text not null,
    primary key (tenant, approver, request_id)
  )${narrow}`,
  `create table oversight_grants (
    id text primary key,
    tenant text not null,
    spent ${integer} not null,
    expires_at ${integer} not null,
    terms text not null
  )${strict}`,
  'create index oversight_grants_of on oversight_grants (tenant, id)',
  'create index oversight_grants_good on oversight_grants (tenant, expires_at) where spent = 0'
]

/** The tables of oversight: requests, their policies, the keys that opened them, who they wait for, and standing grants. */
export const oversightSchema: Schema = {
  component: 'oversight',
  migrations: [
    {
      version: 1,
      name: 'requests, policies, keys, people asked and grants',
      sqlite: tables('integer', ' strict', ' strict, without rowid'),
      postgres: tables('bigint', '', '')
    }
  ]
}
