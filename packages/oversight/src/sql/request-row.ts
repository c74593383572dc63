import { CoreError, type JsonObject } from '@enablement/core'
import { integerOf, optionalIntegerOf, optionalTextOf, type SqlRow, type SqlValue, textOf } from '@enablement/core/sql'
import type { ApprovalPolicy } from '../policy/policy.ts'
import {
  type ExecutionRecord,
  nextDueAt,
  type RequestRecord,
  type RequestStatus,
  type Settlement
} from '../request/request.ts'

/** The columns that an opening writes and no step changes. */
const FIXED = [
  'id',
  'tenant',
  'idempotency_key',
  'action',
  'argument_hash',
  'agent',
  'on_behalf_of',
  'summary',
  'detail',
  'policy',
  'opened_at'
] as const

/** The columns that steps change. */
const CHANGING = [
  'status',
  'tier',
  'tier_ends_at',
  'started_late',
  'queued',
  'deadline_at',
  'next_due_at',
  'settled_by',
  'settled_at',
  'settled_reason',
  'refused_votes',
  'execution_state',
  'execution_fence',
  'execution_claim',
  'execution_since',
  'execution_lease_until',
  'execution_result'
] as const

const marks = (count: number): string => Array.from({ length: count }, () => '?').join(', ')

export const insertRequest = `insert into oversight_requests (${[...FIXED, ...CHANGING].join(', ')})
  values (${marks(FIXED.length + CHANGING.length)}) on conflict (tenant, idempotency_key) do nothing`

export const updateRequest = `update oversight_requests set ${CHANGING.map((column) => `${column} = ?`).join(', ')}
  where id = ?`

/** The values for `insertRequest`. */
export function insertedValues(request: RequestRecord): readonly SqlValue[] {
  const { id, tenant, idempotencyKey, action, argumentHash, requestedBy, summary, detail, policy, openedAt } = request
  const { agent, onBehalfOf = null } = requestedBy
  const texts = [JSON.stringify(detail), JSON.stringify(policy)]
  const fixed = [id, tenant, idempotencyKey, action, argumentHash, agent, onBehalfOf, summary, ...texts, openedAt]
  return [...fixed, ...changingValues(request)]
}

/** The values for `updateRequest`. */
export function updatedValues(request: RequestRecord): readonly SqlValue[] {
  return [...changingValues(request), request.id]
}

function changingValues(request: RequestRecord): readonly SqlValue[] {
  const { status, tier, tierEndsAt, startedLate, queued, deadlineAt, settlement, refusedVotes, execution } = request
  return [
    status,
    tier,
    tierEndsAt ?? null,
    startedLate ? 1 : 0,
    queued ? 1 : 0,
    deadlineAt ?? null,
    nextDueAt(request) ?? null,
    settlement?.by ?? null,
    settlement?.at ?? null,
    settlement?.reason ?? null,
    refusedVotes,
    execution.state,
    execution.fence,
    execution.state === 'running' ? execution.claimId : null,
    execution.state === 'idle' ? null : execution.since,
    execution.state === 'running' ? execution.leaseUntil : null,
    execution.state === 'executed' ? execution.result : null
  ]
}

/** Reads a row of `oversight_requests`. Throws `STORE_DAMAGED` for one that no step can have written. */
export function requestOf(row: SqlRow): RequestRecord {
  const onBehalfOf = optionalTextOf(row, 'on_behalf_of')
  return {
    id: textOf(row, 'id'),
    tenant: textOf(row, 'tenant'),
    idempotencyKey: textOf(row, 'idempotency_key'),
    action: textOf(row, 'action'),
    argumentHash: textOf(row, 'argument_hash'),
    requestedBy: { agent: textOf(row, 'agent'), ...(onBehalfOf === undefined ? {} : { onBehalfOf }) },
    summary: textOf(row, 'summary'),
    detail: parsed(row, 'detail') as JsonObject,
    policy: parsed(row, 'policy') as ApprovalPolicy,
    openedAt: integerOf(row, 'opened_at'),
    status: oneOf<RequestStatus>(row, 'status', ['pending', 'approved', 'denied', 'timed-out', 'cancelled']),
    tier: integerOf(row, 'tier'),
    tierEndsAt: optionalIntegerOf(row, 'tier_ends_at'),
    startedLate: integerOf(row, 'started_late') === 1,
    queued: integerOf(row, 'queued') === 1,
    deadlineAt: optionalIntegerOf(row, 'deadline_at'),
    settlement: settlementOf(row),
    refusedVotes: integerOf(row, 'refused_votes'),
    execution: executionOf(row)
  }
}

function settlementOf(row: SqlRow): Settlement | undefined {
  const by = optionalTextOf(row, 'settled_by')
  if (by === undefined) return undefined
  return { by, at: integerOf(row, 'settled_at'), reason: optionalTextOf(row, 'settled_reason') }
}

function executionOf(row: SqlRow): ExecutionRecord {
  const state = oneOf<ExecutionRecord['state']>(row, 'execution_state', ['idle', 'running', 'executed', 'in-doubt'])
  const fence = integerOf(row, 'execution_fence')
  if (state === 'idle') return { state, fence }
  const since = integerOf(row, 'execution_since')
  if (state === 'in-doubt') return { state, fence, since }
  if (state === 'executed') return { state, fence, since, result: textOf(row, 'execution_result') }
  const leaseUntil = integerOf(row, 'execution_lease_until')
  return { state, fence, claimId: textOf(row, 'execution_claim'), since, leaseUntil }
}

/** The column's text, when it is one of `words`. */
export function oneOf<Word extends string>(row: SqlRow, column: string, words: readonly Word[]): Word {
  const text = textOf(row, column)
  const word = words.find((known) => known === text)
  if (word === undefined) throw damaged(`column ${column} holds an unknown word`)
  return word
}

function parsed(row: SqlRow, column: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(textOf(row, column))
  } catch (cause) {
    throw damaged(`column ${column} holds no JSON`, cause)
  }
  if (typeof value !== 'object' || value === null) throw damaged(`column ${column} holds no JSON object`)
  return value
}

function damaged(reason: string, cause?: unknown): CoreError<'STORE_DAMAGED'> {
  return new CoreError('STORE_DAMAGED', `oversight's ${reason}`, { store: 'oversight', reason }, { cause })
}
