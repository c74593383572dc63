import { CoreError, type Platform, parseOptions } from '@enablement/core'
import type { AuditLog } from '@enablement/core/audit'
import { createOutbox, type Outbox, type OutboxHealth } from '@enablement/core/outbox'
import { firstRow, integerOf, optionalIntegerOf, rows, type SqlDatabase, type SqlRow } from '@enablement/core/sql'
import { z } from 'zod'
import type { Change, Courier, DueResult, Opened, Opening, OversightStore } from '../oversight-store.ts'
import type { RequestRecord } from '../request/request.ts'
import { inBatches, isShared } from './batches.ts'
import { grantRows } from './grant-rows.ts'
import { openingUnit } from './opening-unit.ts'
import { policyRows } from './policy-rows.ts'
import { REQUEST_COLUMNS, requestOf } from './request-row.ts'
import { requestUnits, type StepItem, type StepResult } from './request-units.ts'
import { sqlCourier } from './sql-courier.ts'

/** Where the evidence goes, and how messages are delivered. */
export interface SqlOversightStoreOptions {
  /** An audit log in the same database, or state and record would not be one unit. */
  readonly audit: Pick<AuditLog, 'appendAll' | 'about'>
  /** How long one attempt to deliver may take, the directory's answer included. 10 s unless given. */
  readonly attemptMs?: number
  /** Deliveries at a time in this process; 64 unless given. */
  readonly concurrency?: number
  /** Messages that wait, at most; beyond it requests are refused with `OVERLOADED`. 1,000,000 unless given. */
  readonly backlogMax?: number
  readonly platform?: Platform
}

/** A store in SQL tables, and what operators want to see of its outbox. */
export interface SqlOversightStore extends OversightStore {
  /** The outbox that its messages wait in: for `list`, `revive` and `drop` of what could not be attempted. */
  readonly outbox: Outbox
  health(): Promise<OutboxHealth>
}

/** Requests that one unit changes or opens: a unit of some 10 ms. */
const ITEMS_MAX = 256
/** Units under way where several can be: enough to keep two cores of a server busy, few enough for a small pool. */
const UNITS_MAX = 4

const ATTEMPT_MS = 10_000
const CONCURRENCY = 64
const BACKLOG_MAX = 1_000_000

/** After every id. */
const LAST = '\u{10ffff}'

const optionsSchema: z.ZodType<SqlOversightStoreOptions> = z.strictObject({
  audit: z.custom<SqlOversightStoreOptions['audit']>(
    (value) => typeof value === 'object' && value !== null && 'appendAll' in value && 'about' in value,
    'must be an audit log'
  ),
  attemptMs: z.int().min(1).max(3_600_000).exactOptional(),
  concurrency: z.int().min(1).max(1_024).exactOptional(),
  backlogMax: z.int().min(1).max(10_000_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Keeps requests in the tables of `oversightSchema` and their messages in those of core's `outboxSchema`, in SQLite,
 * Postgres or PGlite. What survives is what the database promises of a committed unit (`db.supports.durable`). Calls that
 * come at the same time share units. Throws `INVALID_OPTIONS` (core).
 */
export function sqlOversightStore(db: SqlDatabase, options: SqlOversightStoreOptions): SqlOversightStore {
  const parsed = parseOptions(optionsSchema, 'sqlOversightStore', options)
  const { audit, attemptMs = ATTEMPT_MS, concurrency = CONCURRENCY, backlogMax = BACKLOG_MAX, platform } = parsed
  const { now } = db.dialect
  const courier = sqlCourier()
  const outbox = createOutbox({
    db,
    name: 'oversight',
    deliver: courier.deliver,
    settled: (settlements) => courier.settle(units, settlements),
    observe: courier.observe,
    attemptMs,
    concurrency,
    backlogMax,
    onDead: 'continue',
    // One for a whole channel would hold messages back, untried, while the next channel of their entry could have them, and
    // would let the endpoint of one tenant stop those of all others. Channels know their endpoints, and have their own.
    breaker: 'off',
    ...(platform === undefined ? {} : { platform })
  })
  const policies = policyRows(db.dialect)
  const units = requestUnits(db.dialect, { audit, outbox, policies })
  const grants = grantRows(db.dialect)
  const openAll = openingUnit(db.dialect, { units, grants, policies })
  const unitsMax = db.supports.concurrentWriters ? UNITS_MAX : 1
  const open = inBatches<Opening, Opened>({
    run: openThem,
    itemsMax: ITEMS_MAX,
    unitsMax
  })
  const step = inBatches<StepItem, StepResult>({
    run: (items) => db.run(() => units.change(items)),
    itemsMax: ITEMS_MAX,
    unitsMax
  })

  /** Each round either opens an opening or has met a request that was open and is settled now. */
  async function openThem(openings: readonly Opening[]): Promise<readonly Opened[]> {
    const tried = await db.run(() => openAll(openings))
    const left = openings.filter((_, at) => tried[at]?.outcome === 'again')
    const later = left.length === 0 ? [] : [...(await openThem(left))]
    const opened = tried.map((one) => (one.outcome === 'again' ? (later.shift() as Opened) : one))
    policies.kept(opened.map(({ request }) => request))
    return opened
  }

  const clockText = `select ${now} as now`
  const findText = `select ${REQUEST_COLUMNS} from oversight_requests where id = ?`

  return {
    outbox,
    health: () => outbox.health(),
    open,
    find: (requestId) =>
      db.run(function* () {
        const found = yield* rows(findText, requestId)
        const policyOf = yield* policies.of(found)
        return found[0] === undefined ? undefined : requestOf(found[0], policyOf)
      }),
    async change<Answer>(
      requestId: string,
      take: (request: RequestRecord, now: number) => Change<Answer>
    ): Promise<Answer> {
      const result = await step({ requestId, step: take })
      if (result.outcome === 'failed') throw result.error
      return result.answer as Answer
    },
    async changeDue<Answer>(
      kind: 'escalation' | 'execution',
      limits: { readonly limit: number; readonly skip: readonly string[] },
      take: (request: RequestRecord, now: number) => Change<Answer>
    ) {
      const column = columnOf(kind)
      try {
        return (await db.run(() => units.changeDue(column, limits, take))) as readonly DueResult<Answer>[]
      } catch (error) {
        if (isShared(error)) throw error
        // One that makes its unit fail fails alone.
        const due = await db.run(() => units.due(column, limits))
        const alone = due.map((requestId) =>
          step({ requestId, step: take }).catch(
            (fault: unknown) => ({ outcome: 'failed', requestId, error: fault }) as const
          )
        )
        return (await Promise.all(alone)) as readonly DueResult<Answer>[]
      }
    },
    nextDueInMs: (kind) =>
      db.run(function* () {
        const column = columnOf(kind)
        const text = `select ${now} as now, (select ${column} from oversight_requests where ${column} is not null
          order by ${column} limit 1) as due_at`
        const row = (yield* firstRow(text)) as SqlRow
        const dueAt = optionalIntegerOf(row, 'due_at')
        return dueAt === undefined ? undefined : Math.max(0, dueAt - integerOf(row, 'now'))
      }),
    list: ({ tenant, status, approver, before = LAST, from, limit }) =>
      db.run(function* () {
        const found =
          approver === undefined
            ? yield* rows(listText(status), tenant, before, limit)
            : from === undefined
              ? yield* rows(waitingText('<', 'desc'), tenant, approver, before, limit)
              : yield* rows(waitingText('>=', 'asc'), tenant, approver, from, limit)
        const policyOf = yield* policies.of(found)
        return found.map((row) => requestOf(row, policyOf))
      }),
    entries: (tenant, subjects) => audit.about(tenant, subjects),
    addGrant: (make) =>
      db.run(function* () {
        const at = integerOf((yield* firstRow(clockText)) as SqlRow, 'now')
        const { answer, grant, evidence } = make(at)
        if (grant !== undefined) yield* grants.insert(grant)
        yield* units.record(evidence)
        return answer
      }),
    changeGrant: (grantId, change) =>
      db.run(function* () {
        const grant = yield* grants.lockOne(grantId)
        if (grant === undefined) return undefined
        const at = integerOf((yield* firstRow(clockText)) as SqlRow, 'now')
        const { answer, grant: after, evidence } = change(grant, at)
        if (after !== undefined) yield* grants.update([after])
        yield* units.record(evidence)
        return answer
      }),
    grants: (query) => db.run(() => grants.list(query)),
    deliverThrough(through: Courier) {
      if (courier.isTaken()) throw twice()
      courier.take(through)
      return outbox.duties
    }
  }
}

const columnOf = (kind: 'escalation' | 'execution'): 'next_due_at' | 'execution_due_at' =>
  kind === 'escalation' ? 'next_due_at' : 'execution_due_at'

const waitingText = (bound: '<' | '>=', order: 'asc' | 'desc'): string =>
  `select ${REQUEST_COLUMNS.replaceAll(/\w+/g, 'r.$&')} from oversight_asked a
  join oversight_requests r on r.id = a.request_id
  where a.tenant = ? and a.approver = ? and a.request_id ${bound} ? order by a.request_id ${order} limit ?`

function listText(status: 'pending' | 'settled' | undefined): string {
  const only = status === undefined ? '' : ` and status ${status === 'pending' ? '=' : '<>'} 'pending'`
  return `select ${REQUEST_COLUMNS} from oversight_requests
    where tenant = ? and id < ?${only} order by id desc limit ?`
}

function twice(): CoreError<'INVALID_OPTIONS'> {
  const message = 'has one createOversight already, and delivers its messages'
  return new CoreError('INVALID_OPTIONS', `sqlOversightStore ${message}`, {
    subject: 'sqlOversightStore',
    issues: [{ path: '', message }]
  })
}
