import {
  type ApprovalGate,
  createIdSource,
  type JsonObject,
  type JsonValue,
  parseOptions,
  reporter,
  systemPlatform,
  type Verdict
} from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import { type Action, detailOf, excerptOf, requireScreened } from './action/action.ts'
import { argumentHash } from './action/argument-hash.ts'
import { resultText } from './action/reconciliation.ts'
import { type Cancelled, cancel } from './decision/cancellation.ts'
import { type Ballot, ballotSchema, cast, type Decided, hashSchema, REASON_LENGTH_MAX } from './decision/cast.ts'
import { type Edited, edit } from './decision/edit.ts'
import { findVoter } from './decision/voter.ts'
import { courierOf } from './delivery/courier.ts'
import { recordDelivery } from './delivery/delivery-result.ts'
import { identitySchema, keySchema, proseSchema } from './directory/identity.ts'
import { escalationDuty } from './escalation/escalation-duty.ts'
import { type OpenRequest, openRequest } from './escalation/opening.ts'
import { createSeater } from './escalation/seater.ts'
import { type Executed, type ExecutionClaim, execute } from './execution/execute.ts'
import { finish, release } from './execution/execution.ts'
import { executionDuty } from './execution/execution-duty.ts'
import { reconciler } from './execution/reconciling.ts'
import { approvalGate } from './gate/approval-gate.ts'
import { createStandingGrants, type StandingGrants } from './grant/standing-grants.ts'
import { OversightError } from './oversight-error.ts'
import { checkOptions, type OversightOptions } from './oversight-options.ts'
import { COMMENT_LENGTH_MAX, type Commented, comment, view } from './request/discussion.ts'
import type { RequestRecord } from './request/request.ts'
import { type RequestView, viewOf } from './request/request-view.ts'
import { type Revoked, revoke } from './request/revocation.ts'
import { type RequestStory, subjectsOf } from './request/story.ts'
import { settledRow } from './statistics/settled-row.ts'
import { createStatistics, type StatisticsOptions, type StatisticsReport } from './statistics/statistics.ts'
import { createTransitions } from './transition/transitions.ts'
import { verdictFrom } from './transition/waiting.ts'
import { createWakeUps } from './transition/wake-ups.ts'
import { createWorkHints } from './transition/work-hints.ts'

/** One request, as seen by who asked. It holds no state: any process may make one for the same id. */
export interface ApprovalRequest<Detail> {
  readonly id: string
  /**
   * Waits for the verdict, for as long as it takes. A store that is away meanwhile is asked again. Rejects with the
   * signal's reason when it aborts; the request stays open. Throws `UNKNOWN_REQUEST`.
   */
  settled(options?: { readonly signal?: AbortSignal }): Promise<Verdict>
  /**
   * Runs `effect` at most once, whoever calls, in whatever process, and however often; later calls get the result that
   * it had. An effect that throws `noEffect(…)` may be run again; one that throws anything else leaves the execution in
   * doubt, until the action's `reconcile` or `resolve` says what became of it. Throws `UNKNOWN_REQUEST`, `WRONG_ACTION`,
   * `ARGUMENTS_ALTERED`, `NO_EFFECT` for an effect that had none, and what the store throws.
   */
  execute<Result extends JsonValue>(
    effect: (claim: ExecutionClaim<Detail>) => Promise<Result>
  ): Promise<Executed<Result>>
  /** Withdraws the request, if it is still open. Throws `INVALID_OPTIONS` (core) and `UNKNOWN_REQUEST`. */
  cancel(call: { readonly by: string; readonly reason: string }): Promise<Cancelled>
}

/** Which requests to list. */
export interface ListQuery {
  readonly tenant: string
  readonly status?: 'pending' | 'settled'
  /** Those that are open and wait for this person. */
  readonly approver?: string
  /** The `next` of the page before. */
  readonly after?: string
  /** 50 unless given, at most 200. */
  readonly limit?: number
}

/** Requests of a tenant by when they were opened: half-open, in epoch milliseconds. */
export interface OpeningRange {
  readonly tenant: string
  readonly from: number
  readonly until: number
}

/** A human's yes, in time, on record, executed at most once. */
export interface Oversight {
  /**
   * Opens a request and asks the first tier, or finds the request that the key opened before. Resolved means durable,
   * with the record of it. Throws `INVALID_OPTIONS` (core), `UNKNOWN_ACTION`, `INVALID_DETAIL`,
   * `IDEMPOTENCY_KEY_REUSED` and what the store throws; the same call may then be repeated.
   */
  open<Detail, Input>(action: Action<Detail, Input>, ask: OpenRequest<NoInfer<Input>>): Promise<ApprovalRequest<Detail>>
  /**
   * The request of this id, for instance after a restart. Whether it exists is found out by its calls. Throws
   * `UNKNOWN_ACTION`.
   */
  request<Detail, Input>(action: Action<Detail, Input>, requestId: string): ApprovalRequest<Detail>
  /**
   * Counts an approver's vote; the caller has authenticated them. The vote, what it settles and the record of both are
   * one unit: of any number of votes at the same time, one decides. A repetition after a failure belongs under the same
   * `idempotencyKey`. Throws `INVALID_OPTIONS` (core; a denial without a reason is one), `UNKNOWN_REQUEST`,
   * `DIRECTORY_UNAVAILABLE` and what the store throws.
   */
  decide(requestId: string, ballot: Ballot): Promise<Decided>
  /**
   * Changes what is asked, as an approver: votes so far are void, and whoever was asked is asked again. `argumentHash` is
   * that of the version which was edited. Throws as `decide`, and `UNKNOWN_ACTION` and `INVALID_DETAIL`.
   */
  edit(
    requestId: string,
    call: { readonly by: string; readonly detail: JsonObject; readonly reason: string; readonly argumentHash: string }
  ): Promise<Edited>
  /** Adds a comment, at most 100 to a request. A repetition under the same key changes nothing. */
  comment(
    requestId: string,
    call: { readonly by: string; readonly text: string; readonly idempotencyKey?: string }
  ): Promise<Commented>
  /**
   * Puts on record that someone was shown the request in full; once for each person and version. With the `argumentHash` of
   * what was shown, a view of an earlier version is not taken for one of this.
   */
  viewed(requestId: string, call: { readonly by: string; readonly argumentHash?: string }): Promise<void>
  /** Takes an approval back, as long as its execution has not begun. Throws `INVALID_OPTIONS` (core), `UNKNOWN_REQUEST`. */
  revoke(requestId: string, call: { readonly by: string; readonly reason: string }): Promise<Revoked>
  /**
   * Says what became of an execution in doubt, as someone who has looked: `false` when it is not in doubt any more.
   * `not-executed` lets the approval be used again, so it must not happen any more either. Throws `INVALID_OPTIONS` and
   * `NOT_JSON` (core), and `UNKNOWN_REQUEST`.
   */
  resolve(
    requestId: string,
    call: { readonly by: string; readonly reason: string } & (
      | { readonly outcome: 'executed'; readonly result: JsonValue }
      | { readonly outcome: 'not-executed' }
    )
  ): Promise<boolean>
  /**
   * An invitation that was delivered turns out not to have been: a mail came back. Its channel is to deliver it again, at
   * another address if it knows one; when it says `unreachable`, the next channel is tried. Throws `UNKNOWN_REQUEST`.
   */
  bounced(requestId: string, call: { readonly invitationId: string; readonly reason: string }): Promise<void>
  /** The request as people may see it. Throws `UNKNOWN_REQUEST`. */
  inspect(requestId: string): Promise<RequestView>
  /** Requests of a tenant, the newest first. Throws `INVALID_OPTIONS` (core). */
  list(query: ListQuery): Promise<{ readonly requests: readonly RequestView[]; readonly next: string | undefined }>
  /** A request and all that the log says about it. Throws `UNKNOWN_REQUEST`. */
  story(requestId: string): Promise<RequestStory>
  /** The stories of the requests that were opened within a time, the newest first: one object after another, for a file. */
  export(range: OpeningRange): AsyncIterable<RequestStory>
  /**
   * How soon and by whom those of the requests that were opened within a time have been decided. Reads them all, a page at
   * a time. Throws `INVALID_OPTIONS` (core).
   */
  statistics(range: OpeningRange & StatisticsOptions): Promise<StatisticsReport>
  /** Approvals given in advance. */
  readonly grants: StandingGrants
  /** Answers core's seam for packages that do not know this one. */
  gate(): ApprovalGate
  /** For core's `startWorker`: escalation, delivery, expiry of execution leases. Any number of workers may run them. */
  readonly duties: readonly Duty[]
}

const POLL_MS = 500
const EXECUTION_LEASE_MS = 30_000
/** By how much the clock of a process may be ahead of the store's: more is an alarm of its own. */
const CLOCKS_APART_MS = 3_600_000
const LIST_DEFAULT = 50
const LIST_MAX = 200

const cancelSchema = z.strictObject({ by: identitySchema, reason: proseSchema(REASON_LENGTH_MAX) })

const editSchema = z.strictObject({
  by: identitySchema,
  detail: z.unknown(),
  reason: proseSchema(REASON_LENGTH_MAX),
  argumentHash: hashSchema
})

const commentSchema = z.strictObject({
  by: identitySchema,
  text: proseSchema(COMMENT_LENGTH_MAX),
  idempotencyKey: keySchema.exactOptional()
})

const viewedSchema = z.strictObject({ by: identitySchema, argumentHash: hashSchema.exactOptional() })

const bouncedSchema = z.strictObject({ invitationId: keySchema, reason: proseSchema(500) })

const resolveSchema = z.discriminatedUnion('outcome', [
  z.strictObject({ ...cancelSchema.shape, outcome: z.literal('executed'), result: z.unknown() }),
  z.strictObject({ ...cancelSchema.shape, outcome: z.literal('not-executed') })
])

const rangeSchema: z.ZodType<OpeningRange> = z.strictObject({
  tenant: identitySchema,
  from: z.int().min(0),
  until: z.int().min(0)
})

const listSchema: z.ZodType<ListQuery> = z
  .strictObject({
    tenant: identitySchema,
    status: z.enum(['pending', 'settled']).exactOptional(),
    approver: identitySchema.exactOptional(),
    after: keySchema.exactOptional(),
    limit: z.int().min(1).max(LIST_MAX).exactOptional()
  })
  .refine(({ status, approver }) => approver === undefined || status !== 'settled', {
    path: ['approver'],
    message: 'is for those that are open'
  })

/**
 * Human approval over a store. Starts nothing by itself: give `duties` to a worker, or nobody is invited and nothing
 * escalates. Throws `INVALID_OPTIONS` (core) with the path of every issue.
 */
export function createOversight(options: OversightOptions): Oversight {
  const checked = checkOptions(options)
  const { store, actions, channels, directory, agentControl, alertOps, agentTimeout } = checked
  const { autoApproval = 'forbidden', observe, platform = systemPlatform, pollMs = POLL_MS } = checked
  const { executionLeaseMs = EXECUTION_LEASE_MS } = checked
  const { clock } = platform
  const known = new Map(actions.map((action) => [action.name, action]))
  const emit = reporter(observe)
  const nextId = createIdSource(platform)
  const wakeUps = createWakeUps()
  const controlsAgents = agentControl !== undefined
  const hints = createWorkHints(clock)
  const transitions = createTransitions({
    store,
    wakeUps,
    hints,
    channels,
    controlsAgents,
    alertsOps: alertOps !== undefined,
    emit
  })
  const waiting = { store, clock, wakeUps, emit, pollMs }
  const seater = createSeater({ directory, clock, emit })
  const mayApproveItself = (): boolean =>
    typeof autoApproval === 'function' ? autoApproval() : autoApproval === 'allowed'
  const opening = { transitions, seater, nextId, autoApproval: mayApproveItself, agentTimeout, controlsAgents }
  const reconcile = reconciler({ actions: known, transitions, clock, emit })
  const executor = { transitions, platform, nextId, leaseMs: executionLeaseMs, actions: known, reconcile }
  const canReconcile = (name: string): boolean => known.get(name)?.reconcile !== undefined

  const actionOf = (name: string): Action => {
    const action = known.get(name)
    if (action === undefined) throw unknownAction(name)
    return action
  }
  const requireKnown = (action: { readonly name: string }): void => {
    if (known.get(action.name) !== action) throw unknownAction(action.name)
  }
  const find = async (requestId: string): Promise<RequestRecord> => {
    const request = await store.find(requestId)
    if (request !== undefined) return request
    throw new OversightError('UNKNOWN_REQUEST', `there is no request ${requestId}`, { requestId })
  }
  const voterOf = async (requestId: string, approver: string) =>
    directory === undefined ? undefined : findVoter(directory, (await find(requestId)).tenant, approver, clock)

  const requestOf = <Detail>(action: Action<Detail, unknown>, id: string): ApprovalRequest<Detail> => ({
    id,
    settled: ({ signal } = {}) => verdictFrom(waiting, id, signal),
    execute: (effect) => execute(executor, { requestId: id, action: action.name }, effect),
    async cancel(call) {
      const parsed = parseOptions(cancelSchema, 'cancel', call)
      return transitions.apply(id, (request, now) => cancel(request, parsed, now))
    }
  })

  async function* openedWithin({ tenant, from, until }: OpeningRange): AsyncGenerator<RequestRecord> {
    for (let before: string | undefined; ; ) {
      const page = await store.list({ tenant, limit: LIST_MAX, ...(before === undefined ? {} : { before }) })
      for (const request of page) {
        if (request.openedAt >= from && request.openedAt < until) yield request
      }
      const last = page.at(-1)
      // Pages are by ids, which are in the order of the clocks of those who opened; the instants are the store's.
      if (last === undefined || page.length < LIST_MAX || last.openedAt < from - CLOCKS_APART_MS) return
      before = last.id
    }
  }
  const storyOf = async (request: RequestRecord): Promise<RequestStory> => ({
    request: viewOf(request),
    entries: await store.entries(request.tenant, subjectsOf(request))
  })

  const courier = courierOf({ store, transitions, channels, directory, agentControl, alertOps, clock, emit })
  return {
    async open(action, ask) {
      requireKnown(action)
      const { id } = await openRequest(action, ask, opening)
      return requestOf(action, id)
    },
    request(action, requestId) {
      requireKnown(action)
      return requestOf(action, requestId)
    },
    async decide(requestId, ballot) {
      const parsed = parseOptions(ballotSchema, 'decide', ballot)
      const voter = await voterOf(requestId, parsed.approver)
      return transitions.apply(requestId, (request, now) => cast(request, parsed, voter, now))
    },
    async edit(requestId, call) {
      const { by, reason, detail: given, argumentHash: from } = parseOptions(editSchema, 'edit', call)
      const request = await find(requestId)
      const action = actionOf(request.action)
      const detail = await detailOf(action, given)
      requireScreened(action, { ...request, detail })
      const excerpt = await excerptOf(action, detail)
      const voter = await voterOf(requestId, by)
      const edited = { by, reason, from, detail, excerpt, argumentHash: argumentHash(action.name, detail) }
      return transitions.apply(requestId, (request, now) => edit(request, edited, voter, now))
    },
    async comment(requestId, call) {
      const { by, text, idempotencyKey: key } = parseOptions(commentSchema, 'comment', call)
      return transitions.apply(requestId, (request, now) => comment(request, { by, text, key }, now))
    },
    async viewed(requestId, call) {
      const parsed = parseOptions(viewedSchema, 'viewed', call)
      return transitions.apply(requestId, (request, now) => view(request, parsed, now))
    },
    async revoke(requestId, call) {
      const parsed = parseOptions(cancelSchema, 'revoke', call)
      return transitions.apply(requestId, (request, now) => revoke(request, parsed, now))
    },
    async resolve(requestId, call) {
      const parsed = parseOptions(resolveSchema, 'resolve', call)
      const { by: reconciledBy, reason } = parsed
      const result = parsed.outcome === 'executed' ? resultText(parsed.result as JsonValue) : undefined
      return transitions.apply(requestId, (request, now) => {
        const { state, fence } = request.execution
        if (state !== 'in-doubt') return { answer: false, facts: [] }
        return result === undefined
          ? release(request, { fence, reason, reconciledBy })
          : finish(request, { fence, result, reconciledBy }, now)
      })
    },
    async bounced(requestId, call) {
      const { invitationId, reason } = parseOptions(bouncedSchema, 'bounced', call)
      const result = { outcome: 'unreachable', reason } as const
      await transitions.apply(requestId, (request, now) =>
        recordDelivery(request, { invitationId, result, bounced: true }, now)
      )
    },
    async inspect(requestId) {
      return viewOf(await find(requestId))
    },
    async list(query) {
      const { after, limit = LIST_DEFAULT, ...rest } = parseOptions(listSchema, 'list', query)
      const found = await store.list({ ...rest, limit: limit + 1, ...(after === undefined ? {} : { before: after }) })
      const requests = found.slice(0, limit)
      return { requests: requests.map(viewOf), next: found.length > limit ? requests.at(-1)?.id : undefined }
    },
    story: async (requestId) => storyOf(await find(requestId)),
    async *export(range) {
      for await (const request of openedWithin(parseOptions(rangeSchema, 'export', range))) yield storyOf(request)
    },
    async statistics({ tenant, from, until, ...kept }) {
      const range = parseOptions(rangeSchema, 'statistics', { tenant, from, until })
      const statistics = createStatistics(kept)
      for await (const request of openedWithin(range)) {
        const row = settledRow(request)
        if (row !== undefined) statistics.add(row)
      }
      return statistics.report()
    },
    grants: createStandingGrants({ store, nextId, emit }),
    gate: () =>
      approvalGate({
        open: async ({ action: name, ...ask }) => openRequest(actionOf(name), ask, opening),
        settled: (id, { signal } = {}) => verdictFrom(waiting, id, signal),
        execute: (requestId, effect) => execute(executor, { requestId }, effect)
      }),
    duties: [
      hints.attachedTo(
        'escalation',
        escalationDuty({ store, transitions, seater, hints, autoApproval: mayApproveItself, emit })
      ),
      ...store.deliverThrough(courier).map((duty) => hints.attachedTo('delivery', duty)),
      hints.attachedTo('execution', executionDuty({ store, transitions, hints, canReconcile, reconcile }))
    ]
  }
}

function unknownAction(action: string): OversightError<'UNKNOWN_ACTION'> {
  return new OversightError('UNKNOWN_ACTION', `createOversight was given no such action ${action}`, { action })
}
