import {
  type ApprovalGate,
  createIdSource,
  type JsonValue,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform,
  type Verdict
} from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import { z } from 'zod'
import { type Action, isAction } from './action/action.ts'
import type { Channel } from './channel/channel.ts'
import { deliveryDuty } from './channel/delivery-duty.ts'
import type { ApproverDirectory } from './directory/approver-directory.ts'
import { identitySchema, proseSchema } from './directory/identity.ts'
import { escalationDuty } from './escalation/escalation-duty.ts'
import { type OpenRequest, openRequest } from './escalation/opening.ts'
import type { OversightEvent } from './evidence/event.ts'
import { type Executed, type ExecutionClaim, execute } from './execution/execute.ts'
import { executionDuty } from './execution/execution-duty.ts'
import { approvalGate } from './gate/approval-gate.ts'
import { OversightError } from './oversight-error.ts'
import type { OversightStore } from './oversight-store.ts'
import { type Cancelled, cancel } from './request/cancellation.ts'
import { createTransitions } from './request/transitions.ts'
import { verdictFrom } from './request/waiting.ts'
import { createWakeUps } from './request/wake-ups.ts'
import { type Ballot, ballotSchema, cast, type Decided, REASON_LENGTH_MAX } from './vote/vote.ts'

export interface OversightOptions {
  readonly store: OversightStore
  /** Everything that may be asked for. Their policies name the channels and approvers. */
  readonly actions: readonly Action[]
  /** By the names that policies use. Every worker of the store needs them all. */
  readonly channels: { readonly [name: string]: Channel }
  /** Without it an approver's id serves as name and as address on every channel. */
  readonly directory?: ApproverDirectory
  /**
   * Is told of every fact after its commit, and of failures. What it throws is dropped: a report must not stop the
   * work.
   */
  readonly observe?: (event: OversightEvent) => void
  readonly platform?: Platform
  /** How often `settled` looks into the store for what other processes decided. 500 ms unless given. */
  readonly pollMs?: number
  /**
   * After how long without a sign of life an executor counts as lost and its execution as in doubt; it renews at a
   * third of this. 30 s unless given. Longer than any pause of the process (garbage collection, a suspended machine).
   */
  readonly executionLeaseMs?: number
  /** How long one attempt to deliver may take. 10 s unless given. */
  readonly deliveryAttemptMs?: number
}

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
   * doubt. Throws `UNKNOWN_REQUEST`, `WRONG_ACTION`, `ARGUMENTS_ALTERED`, `NO_EFFECT` for an effect that had none, and
   * what the store throws.
   */
  execute<Result extends JsonValue>(
    effect: (claim: ExecutionClaim<Detail>) => Promise<Result>
  ): Promise<Executed<Result>>
  /** Withdraws the request, if it is still open. Throws `INVALID_OPTIONS` (core) and `UNKNOWN_REQUEST`. */
  cancel(call: { readonly by: string; readonly reason: string }): Promise<Cancelled>
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
   * `idempotencyKey`. Throws `INVALID_OPTIONS` (core; a denial without a reason is one), `UNKNOWN_REQUEST` and what the
   * store throws.
   */
  decide(requestId: string, ballot: Ballot): Promise<Decided>
  /** Answers core's seam for packages that do not know this one. */
  gate(): ApprovalGate
  /** For core's `startWorker`: escalation, delivery, expiry of execution leases. Any number of workers may run them. */
  readonly duties: readonly Duty[]
}

const POLL_MS = 500
const EXECUTION_LEASE_MS = 30_000
const DELIVERY_ATTEMPT_MS = 10_000

/** An hour: what waits longer for one poll, one sign of life or one answer has been forgotten. */
const INTERVAL_MAX_MS = 3_600_000

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null
const hasMethods = (value: unknown, ...names: readonly string[]): boolean =>
  isObject(value) && names.every((name) => typeof (value as { readonly [key: string]: unknown })[name] === 'function')

// `custom` keeps what is the caller's own as it is: an object schema would copy it and lose its methods.
const optionsSchema: z.ZodType<OversightOptions> = z
  .strictObject({
    store: z.custom<OversightStore>((value) => hasMethods(value, 'open', 'find', 'change', 'due', 'claimDeliveries'), {
      message: 'must be an oversight store'
    }),
    actions: z.array(z.custom<Action>(isAction, 'must come from defineAction')).min(1),
    channels: z.record(
      identitySchema,
      z.custom<Channel>((value) => hasMethods(value, 'deliver'), 'must have a method deliver')
    ),
    directory: z
      .custom<ApproverDirectory>((value) => hasMethods(value, 'find'), 'must have a method find')
      .exactOptional(),
    observe: z
      .custom<(event: OversightEvent) => void>((value) => typeof value === 'function', 'must be a function')
      .exactOptional(),
    platform: z.custom<Platform>(isObject, 'must be a platform').exactOptional(),
    pollMs: z.int().min(1).max(INTERVAL_MAX_MS).exactOptional(),
    executionLeaseMs: z.int().min(100).max(INTERVAL_MAX_MS).exactOptional(),
    deliveryAttemptMs: z.int().min(1).max(INTERVAL_MAX_MS).exactOptional()
  })
  .check(({ value, issues }) => {
    for (const [at, { name, policy }] of value.actions.entries()) {
      if (value.actions.findIndex((other) => other.name === name) !== at) {
        issues.push({ code: 'custom', input: name, path: ['actions', at, 'name'], message: 'is defined twice' })
      }
      for (const [tier, { channels }] of policy.tiers.entries()) {
        for (const [index, channel] of channels.entries()) {
          if (Object.hasOwn(value.channels, channel)) continue
          const path = ['actions', at, 'policy', 'tiers', tier, 'channels', index]
          issues.push({ code: 'custom', input: channel, path, message: 'names a channel that was not given' })
        }
      }
    }
  })

const cancelSchema = z.strictObject({ by: identitySchema, reason: proseSchema(REASON_LENGTH_MAX) })

/**
 * Human approval over a store. Starts nothing by itself: give `duties` to a worker, or nobody is invited and nothing
 * escalates. Throws `INVALID_OPTIONS` (core) with the path of every issue.
 */
export function createOversight(options: OversightOptions): Oversight {
  const {
    store,
    actions,
    channels,
    directory,
    observe,
    platform = systemPlatform,
    pollMs = POLL_MS,
    executionLeaseMs = EXECUTION_LEASE_MS,
    deliveryAttemptMs = DELIVERY_ATTEMPT_MS
  } = parseOptions(optionsSchema, 'createOversight', options)
  const known = new Map(actions.map((action) => [action.name, action]))
  const emit = reporter(observe)
  const nextId = createIdSource(platform)
  const wakeUps = createWakeUps()
  const transitions = createTransitions({ store, wakeUps, emit })
  const room = { store, clock: platform.clock, wakeUps, emit, pollMs }
  const executor = { transitions, platform, nextId, leaseMs: executionLeaseMs }
  const due = { store, transitions, random: platform.random, emit }

  const requestOf = <Detail>(action: Action<Detail, unknown>, id: string): ApprovalRequest<Detail> => ({
    id,
    settled: ({ signal } = {}) => verdictFrom(room, id, signal),
    execute: (effect) => execute(executor, { requestId: id, action: action.name }, effect),
    async cancel(call) {
      const parsed = parseOptions(cancelSchema, 'cancel', call)
      return transitions.apply(id, (dossier, now) => cancel(dossier, parsed, now))
    }
  })

  const oversight: Oversight = {
    async open(action, ask) {
      if (known.get(action.name) !== action) throw unknownAction(action.name)
      const { id } = await openRequest(action, ask, { transitions, nextId })
      return requestOf(action, id)
    },
    request(action, requestId) {
      if (known.get(action.name) !== action) throw unknownAction(action.name)
      return requestOf(action, requestId)
    },
    async decide(requestId, ballot) {
      const parsed = parseOptions(ballotSchema, 'decide', ballot)
      return transitions.apply(requestId, (dossier, now) => cast(dossier, parsed, now))
    },
    gate: () =>
      approvalGate({
        async open({ action: name, ...ask }) {
          const action = known.get(name)
          if (action === undefined) throw unknownAction(name)
          return openRequest(action, ask, { transitions, nextId })
        },
        settled: (id, { signal } = {}) => verdictFrom(room, id, signal),
        execute: (requestId, effect) => execute(executor, { requestId }, effect)
      }),
    duties: [
      escalationDuty(due),
      deliveryDuty({ store, transitions, channels, directory, platform, emit, attemptMs: deliveryAttemptMs }),
      executionDuty(due)
    ]
  }
  return oversight
}

function unknownAction(action: string): OversightError<'UNKNOWN_ACTION'> {
  return new OversightError('UNKNOWN_ACTION', `createOversight was given no such action ${action}`, { action })
}
