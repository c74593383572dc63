import type { AuditDraft, AuditLog } from '@enablement/core/audit'
import {
  changes,
  execute,
  firstRow,
  integerOf,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  type SqlValue,
  textOf
} from '@enablement/core/sql'
import { OversightError } from '../oversight-error.ts'
import type { Change, OversightStore } from '../oversight-store.ts'
import type { Delivery } from '../request/delivery.ts'
import type { Vote } from '../request/dossier.ts'
import { insertedValues, insertRequest, oneOf, requestOf, updatedValues, updateRequest } from './request-row.ts'

/** Where the evidence goes: an audit log in the same database, or state and record would not be one unit. */
export interface SqlOversightStoreOptions {
  readonly audit: Pick<AuditLog, 'append'>
}

/**
 * Keeps requests in the tables of `oversightSchema`, in SQLite, Postgres or PGlite. What survives is what the database
 * promises of a committed unit (`db.supports.durable`).
 */
export function sqlOversightStore(db: SqlDatabase, options: SqlOversightStoreOptions): OversightStore {
  const { audit } = options
  const { now, forUpdate, skipLocked } = db.dialect

  /** Read after the row is locked: a clock read before the wait for the lock would let a late vote pass as timely. */
  function* storeNow(): Sql<number> {
    return integerOf((yield* firstRow(`select ${now} as now`)) as SqlRow, 'now')
  }

  function* commit(change: Omit<Change<unknown>, 'request' | 'answer'>, requestId: string): Sql<void> {
    const { vote, newDeliveries = [], changedDeliveries = [], evidence } = change
    if (vote !== undefined) yield* insertVote(requestId, vote)
    for (const delivery of newDeliveries) yield* insertDelivery(delivery)
    for (const delivery of changedDeliveries) yield* updateDelivery(delivery)
    yield* record(evidence)
  }

  function* record(evidence: readonly AuditDraft[]): Sql<void> {
    for (const draft of evidence) yield* audit.append(draft)
  }

  return {
    open: (key, opening) =>
      db.run(function* () {
        const { request, ...change } = opening(yield* storeNow())
        if ((yield* changes(insertRequest, ...insertedValues(request))) === 1) {
          yield* commit(change, request.id)
          return { opened: true, request }
        }
        const row = yield* firstRow(
          'select * from oversight_requests where tenant = ? and idempotency_key = ?',
          key.tenant,
          key.idempotencyKey
        )
        return { opened: false, request: requestOf(row as SqlRow) }
      }),

    find: (requestId) =>
      db.run(function* () {
        const row = yield* firstRow('select * from oversight_requests where id = ?', requestId)
        return row === undefined ? undefined : requestOf(row)
      }),

    change: (requestId, step) =>
      db.run(function* () {
        const row = yield* firstRow(`select * from oversight_requests where id = ?${forUpdate}`, requestId)
        if (row === undefined) throw unknownRequest(requestId)
        const votes = yield* rows('select * from oversight_votes where request_id = ? order by ordinal', requestId)
        // Locked as well: a worker may be about to take one. It skips locked ones, so neither waits for the other.
        const deliveries = yield* rows(
          `select * from oversight_deliveries where request_id = ? order by id${forUpdate}`,
          requestId
        )
        const dossier = { request: requestOf(row), votes: votes.map(voteOf), deliveries: deliveries.map(deliveryOf) }
        const { answer, request, ...change } = step(dossier, yield* storeNow())
        if (request !== undefined) yield* execute(updateRequest, ...updatedValues(request))
        yield* commit(change, requestId)
        return answer
      }),

    due: (kind, { limit, skip }) =>
      db.run(function* () {
        const column = kind === 'escalation' ? 'next_due_at' : 'execution_lease_until'
        const unskipped = skip.length === 0 ? '' : ` and id not in (${listOf(skip)})`
        const found = yield* rows(
          `select id from oversight_requests where ${column} <= ${now}${unskipped} order by ${column}, id limit ?`,
          ...skip,
          limit
        )
        return found.map((row) => textOf(row, 'id'))
      }),

    claimDeliveries: ({ limit, leaseMs }) =>
      db.run(function* () {
        const free = yield* rows(
          `select id from oversight_deliveries where due_at <= ${now} order by due_at, id limit ?${skipLocked}`,
          limit
        )
        if (free.length === 0) return []
        const ids = free.map((row) => textOf(row, 'id'))
        yield* execute(
          `update oversight_deliveries set attempts = attempts + 1, due_at = ${now} + ? where id in (${listOf(ids)})`,
          leaseMs,
          ...ids
        )
        const taken = yield* rows(`select * from oversight_deliveries where id in (${listOf(ids)}) order by id`, ...ids)
        return taken.map(deliveryOf)
      })
  }
}

const listOf = (values: readonly unknown[]): string => values.map(() => '?').join(', ')

function unknownRequest(requestId: string): OversightError<'UNKNOWN_REQUEST'> {
  return new OversightError('UNKNOWN_REQUEST', `there is no request ${requestId}`, { requestId })
}

function* insertVote(requestId: string, vote: Vote): Sql<void> {
  const { approver, decision, reason = null, idempotencyKey = null, argumentHash, votedAt } = vote
  // The request's row is locked, so the count is the commit order.
  yield* execute(
    `insert into oversight_votes
      (request_id, approver, decision, reason, idempotency_key, argument_hash, voted_at, ordinal)
      values (?, ?, ?, ?, ?, ?, ?, (select count(*) from oversight_votes where request_id = ?))`,
    requestId,
    approver,
    decision,
    reason,
    idempotencyKey,
    argumentHash,
    votedAt,
    requestId
  )
}

function* insertDelivery(delivery: Delivery): Sql<void> {
  const { id, requestId, kind, tier, approver, channel } = delivery
  yield* execute(
    `insert into oversight_deliveries
      (id, request_id, kind, tier, approver, channel, state, attempts, due_at, receipt)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    id,
    requestId,
    kind,
    tier,
    approver,
    channel,
    ...sendingValues(delivery)
  )
}

function* updateDelivery(delivery: Delivery): Sql<void> {
  yield* execute(
    'update oversight_deliveries set state = ?, attempts = ?, due_at = ?, receipt = ? where id = ?',
    ...sendingValues(delivery),
    delivery.id
  )
}

function sendingValues({ state, attempts, dueAt, receipt }: Delivery): readonly SqlValue[] {
  return [state, attempts, dueAt ?? null, receipt ?? null]
}

function voteOf(row: SqlRow): Vote {
  return {
    approver: textOf(row, 'approver'),
    decision: oneOf(row, 'decision', ['approve', 'deny']),
    reason: optionalTextOf(row, 'reason'),
    idempotencyKey: optionalTextOf(row, 'idempotency_key'),
    argumentHash: textOf(row, 'argument_hash'),
    votedAt: integerOf(row, 'voted_at')
  }
}

function deliveryOf(row: SqlRow): Delivery {
  return {
    id: textOf(row, 'id'),
    requestId: textOf(row, 'request_id'),
    kind: oneOf(row, 'kind', ['invitation', 'verdict']),
    tier: integerOf(row, 'tier'),
    approver: textOf(row, 'approver'),
    channel: textOf(row, 'channel'),
    state: oneOf(row, 'state', ['queued', 'delivered', 'unreachable', 'failed', 'cancelled']),
    attempts: integerOf(row, 'attempts'),
    dueAt: optionalIntegerOf(row, 'due_at'),
    receipt: optionalTextOf(row, 'receipt')
  }
}
