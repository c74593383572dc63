import type { AuditDraft, AuditLog } from '@enablement/core/audit'
import type { Outbox, OutboxDraft } from '@enablement/core/outbox'
import {
  execute,
  integerOf,
  jsonRows,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { OversightError } from '../oversight-error.ts'
import type { Change, OutgoingMessage } from '../oversight-store.ts'
import { askedApprovers, type RequestRecord } from '../request/request.ts'
import type { PolicyRows } from './policy-rows.ts'
import { courseRowOf, matterRowOf, REQUEST_COLUMNS, requestOf } from './request-row.ts'

/** A step that one request is to be taken through. */
export interface StepItem {
  readonly requestId: string
  readonly step: (request: RequestRecord, now: number) => Change<unknown>
}

/** What became of a step. */
export type StepResult =
  | { readonly outcome: 'changed'; readonly requestId: string; readonly answer: unknown }
  | { readonly outcome: 'failed'; readonly requestId: string; readonly error: unknown }

/** What is to be written of one request. `before` is undefined for one that is new. */
export interface Written {
  readonly before: RequestRecord | undefined
  readonly after: RequestRecord
  readonly messages: readonly OutgoingMessage[]
  readonly evidence: readonly AuditDraft[]
}

/** The parts of units that change requests, each for many at a time. */
export interface RequestUnits {
  /** Takes requests through steps, one after the other where several are for the same one. */
  change(items: readonly StepItem[]): Sql<readonly StepResult[]>
  /** Takes requests that are due through a step, skipping those that another unit has locked. */
  changeDue(
    column: 'next_due_at' | 'execution_due_at',
    options: { readonly limit: number; readonly skip: readonly string[] },
    step: StepItem['step']
  ): Sql<readonly StepResult[]>
  /** Which requests are due, whoever has them locked. */
  due(
    column: 'next_due_at' | 'execution_due_at',
    options: { readonly limit: number; readonly skip: readonly string[] }
  ): Sql<readonly string[]>
  /** Writes everything that belongs to changed requests but their own rows, and more evidence. */
  writeAround(written: readonly Written[], more?: readonly AuditDraft[]): Sql<void>
  record(evidence: readonly AuditDraft[]): Sql<void>
}

/** Messages and entries that one statement of the outbox or the log takes. */
const PIECE_MAX = 1_000

export function requestUnits(
  dialect: SqlDialect,
  parts: {
    readonly audit: Pick<AuditLog, 'appendAll'>
    readonly outbox: Pick<Outbox, 'putAll'>
    readonly policies: PolicyRows
  }
): RequestUnits {
  const { audit, outbox, policies } = parts
  const { now, forUpdate, skipLocked } = dialect
  const ids = jsonRows(dialect, { id: 'text' })
  const courses = jsonRows(dialect, {
    id: 'text',
    status: 'text',
    identity_key: 'integer',
    next_due_at: 'integer',
    execution_due_at: 'integer',
    course: 'text'
  })
  const matters = jsonRows(dialect, { id: 'text', matter: 'text' })
  const people = jsonRows(dialect, { tenant: 'text', approver: 'text', request_id: 'text' })

  // Locked in an order of their own, so that two units never wait for each other. The clock is read above the lock: one
  // read before the wait for it would let a late vote pass as timely.
  const locked = (which: string): string => `select ${REQUEST_COLUMNS}, ${now} as now
    from (select ${REQUEST_COLUMNS} from oversight_requests where ${which}) as locked`
  const lockText = locked(`id in (select id from ${ids.select} as given) order by id${forUpdate}`)
  const dueText = (column: string, skipping: boolean): string =>
    locked(`${column} <= (select ${now})${skipping ? ` and id not in (select id from ${ids.select} as given)` : ''}
      order by ${column} limit ?${skipLocked}`)
  const texts = {
    next_due_at: { all: dueText('next_due_at', false), rest: dueText('next_due_at', true) },
    execution_due_at: { all: dueText('execution_due_at', false), rest: dueText('execution_due_at', true) }
  }
  const idsText = (column: string): string => `select id from oversight_requests
    where ${column} <= (select ${now}) and id not in (select id from ${ids.select} as given) order by ${column} limit ?`
  const updateText = `update oversight_requests set status = given.status, identity_key = given.identity_key,
      next_due_at = given.next_due_at, execution_due_at = given.execution_due_at, course = given.course
    from ${courses.select} as given where oversight_requests.id = given.id`
  const matterText = `update oversight_requests set matter = given.matter
    from ${matters.select} as given where oversight_requests.id = given.id`
  const askText = `insert into oversight_asked (tenant, approver, request_id)
    select tenant, approver, request_id from ${people.select} as given where true
    order by tenant, approver, request_id on conflict do nothing`
  const unaskText = `delete from oversight_asked where (tenant, approver, request_id) in
    (select tenant, approver, request_id from ${people.select} as given)`

  /** Takes what was locked through the steps, and writes what they make. */
  function* take(
    found: readonly SqlRow[],
    stepsOf: (requestId: string) => readonly StepItem['step'][]
  ): Sql<readonly StepResult[]> {
    const written: Written[] = []
    const results: StepResult[] = []
    const policyOf = yield* policies.of(found)
    for (const row of found) {
      const requestId = textOf(row, 'id')
      const steps = stepsOf(requestId)
      let before: RequestRecord
      try {
        before = requestOf(row, policyOf)
      } catch (error) {
        results.push(...steps.map((): StepResult => ({ outcome: 'failed', requestId, error })))
        continue
      }
      let after = before
      const messages: OutgoingMessage[] = []
      const evidence: AuditDraft[] = []
      for (const step of steps) {
        try {
          const change = step(after, integerOf(row, 'now'))
          after = change.request ?? after
          messages.push(...(change.messages ?? []))
          evidence.push(...(change.evidence ?? []))
          results.push({ outcome: 'changed', requestId, answer: change.answer })
        } catch (error) {
          results.push({ outcome: 'failed', requestId, error })
        }
      }
      if (after !== before || messages.length > 0 || evidence.length > 0) {
        written.push({ before, after, messages, evidence })
      }
    }
    yield* update(written)
    yield* writeAround(written)
    return results
  }

  function* update(written: readonly Written[]): Sql<void> {
    const changed = written.filter(({ before, after }) => before !== after)
    if (changed.length === 0) return
    yield* execute(updateText, courses.parameter(changed.map(({ after }) => courseRowOf(after))))
    const edited = changed.filter(({ before, after }) => before?.version !== after.version)
    if (edited.length > 0) yield* execute(matterText, matters.parameter(edited.map(({ after }) => matterRowOf(after))))
  }

  function* writeAround(written: readonly Written[], more: readonly AuditDraft[] = []): Sql<void> {
    const asked = { more: [] as Asked[], fewer: [] as Asked[] }
    for (const { before, after } of written) compareAsked(before, after, asked)
    if (asked.fewer.length > 0) yield* execute(unaskText, people.parameter(asked.fewer))
    if (asked.more.length > 0) yield* execute(askText, people.parameter(asked.more))
    for (const drafts of piecesOf(written.flatMap((one) => one.messages.map(draftOf)))) yield* outbox.putAll(drafts)
    // Last, since a chained log locks the tenant's head until the unit ends.
    yield* record([...written.flatMap((one) => one.evidence), ...more])
  }

  function* record(evidence: readonly AuditDraft[]): Sql<void> {
    for (const drafts of piecesOf(evidence)) yield* audit.appendAll(drafts)
  }

  return {
    *change(items) {
      const steps = new Map<string, StepItem['step'][]>()
      for (const { requestId, step } of items) {
        const known = steps.get(requestId)
        if (known === undefined) steps.set(requestId, [step])
        else known.push(step)
      }
      const wanted = [...steps.keys()].map((id) => ({ id }))
      const results = yield* take(yield* rows(lockText, ids.parameter(wanted)), (id) => steps.get(id) ?? [])
      const byRequest = new Map<string, StepResult[]>()
      for (const result of results) {
        const known = byRequest.get(result.requestId)
        if (known === undefined) byRequest.set(result.requestId, [result])
        else known.push(result)
      }
      return items.map(({ requestId }) => byRequest.get(requestId)?.shift() ?? missing(requestId))
    },
    *changeDue(column, { limit, skip }, step) {
      const { all, rest } = texts[column]
      const found =
        skip.length === 0
          ? yield* rows(all, limit)
          : yield* rows(rest, ids.parameter(skip.map((id) => ({ id }))), limit)
      return yield* take(found, () => [step])
    },
    *due(column, { limit, skip }) {
      const found = yield* rows(idsText(column), ids.parameter(skip.map((id) => ({ id }))), limit)
      return found.map((row) => textOf(row, 'id'))
    },
    writeAround,
    record
  }
}

type Asked = { readonly tenant: string; readonly approver: string; readonly request_id: string }

/** Whom the request waits for now and did not before, and the other way round. */
function compareAsked(
  before: RequestRecord | undefined,
  after: RequestRecord,
  { more, fewer }: { readonly more: Asked[]; readonly fewer: Asked[] }
): void {
  if (before?.seats === after.seats && before?.status === after.status) return
  const { id: request_id, tenant } = after
  const was = new Set(before === undefined ? [] : askedApprovers(before))
  const is = new Set(askedApprovers(after))
  for (const approver of is) if (!was.has(approver)) more.push({ tenant, approver, request_id })
  for (const approver of was) if (!is.has(approver)) fewer.push({ tenant, approver, request_id })
}

function piecesOf<T>(all: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / PIECE_MAX) }, (_, at) =>
    all.slice(at * PIECE_MAX, (at + 1) * PIECE_MAX)
  )
}

function draftOf({ payload, destination, line }: OutgoingMessage): OutboxDraft {
  return line === undefined ? { payload, destination } : { payload, destination, key: line }
}

function missing(requestId: string): StepResult {
  const error = new OversightError('UNKNOWN_REQUEST', `there is no request ${requestId}`, { requestId })
  return { outcome: 'failed', requestId, error }
}
