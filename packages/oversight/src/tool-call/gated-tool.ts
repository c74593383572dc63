import {
  type Issue,
  isSuiteError,
  type JsonObject,
  type JsonValue,
  type Platform,
  parseOptions,
  sleep,
  systemPlatform
} from '@enablement/core'
import { z } from 'zod'
import { type Action, detailOf, isAction } from '../action/action.ts'
import { keySchema } from '../directory/identity.ts'
import type { Executed, ExecutionClaim } from '../execution/execute.ts'
import type { ApprovalRequest, Oversight } from '../oversight.ts'
import type { OversightErrorTable } from '../oversight-error.ts'
import type { RequestView } from '../request/request-view.ts'
import { inDoubt, invalid, noEffectRefusal, plainRefusal, refusalOf, type ToolCallRefusal } from './refusal.ts'
import { type ToolCall, toolCallKey } from './tool-call.ts'

/** The part of `Oversight` that a gated tool needs. */
export interface ToolOversight {
  readonly open: Oversight['open']
  readonly request: Oversight['request']
  inspect(requestId: string): Promise<Pick<RequestView, 'status' | 'verdict' | 'version' | 'detail'>>
}

/** What the effect of a gated tool is told about the call, besides its claim. */
export interface EffectCall {
  readonly toolCallId: string
  /**
   * The framework's own. Up to the claim it stops the call; from then on it is the effect's to honour, for an effect
   * that is stopped half-way is in doubt, unless it throws `noEffect(…)`.
   */
  readonly signal: AbortSignal | undefined
}

export interface GatedToolOptions<Detail, Input, Result extends JsonValue> {
  readonly oversight: ToolOversight
  /** Its schema must make the same of its own output: frameworks store parsed arguments and hand them back. */
  readonly action: Action<Detail, Input>
  /** One line that an approver can decide on, at most 500 characters. No secrets. */
  readonly summary: (input: Input) => string
  /** Runs at most once for each call, with what was approved. What it returns is kept for replay. */
  readonly effect: (claim: ExecutionClaim<Detail>, call: EffectCall) => Promise<Result>
  /**
   * How long a call waits for the same call that somebody else is carrying out. 30 s unless given: a lease, so that one
   * whose executor died is in doubt by then.
   */
  readonly busyWaitMs?: number
  readonly platform?: Platform
}

/** Whether a call may be carried out. */
export type ToolCallStanding = { readonly outcome: 'approved'; readonly requestId: string } | ToolCallRefusal

/** A call that was carried out: now, or before, and then with the result that it had. */
export type CarriedOut<Result> = ({ readonly outcome: 'executed' } | { readonly outcome: 'replayed' }) & {
  readonly requestId: string
  readonly result: Result
  /** What was carried out, where a person changed the arguments before they were approved. */
  readonly changedTo: JsonObject | undefined
}

/** What came of a call. */
export type ToolCallOutcome<Result> = CarriedOut<Result> | ToolCallRefusal

/** How long to wait for a verdict. With 0 the store is looked at once. */
export interface VerdictWait {
  readonly waitMs: number
  readonly signal: AbortSignal | undefined
}

/** A tool of which every call asks first and is carried out at most once. It holds no state: any process may make one. */
export interface GatedTool<Input, Result> {
  /** Opens the request of the call, or finds it, and says how it stands. Throws what `Oversight.open` throws. */
  standing(call: ToolCall<Input>): Promise<ToolCallStanding>
  /** The same once there is a verdict, or after `waitMs`. Rejects with the signal's reason when it aborts. */
  settled(call: ToolCall<Input>, options: VerdictWait): Promise<ToolCallStanding>
  /** The same for a request that was opened before. */
  verdict(requestId: string, options: VerdictWait): Promise<ToolCallStanding>
  /** Withdraws the request of the call where it is still open, and says how it stands then. */
  withdraw(call: ToolCall<Input>, reason: string): Promise<ToolCallStanding>
  /** Carries the call out where it is approved. Rejects with the signal's reason when it aborts before the claim. */
  run(call: ToolCall<Input>, options: { readonly signal: AbortSignal | undefined }): Promise<ToolCallOutcome<Result>>
}

/** A lease of an execution; see `OversightOptions.executionLeaseMs`. */
const BUSY_WAIT_MS = 30_000

/** Effects behind tools take a fraction of a second and more, and each look is one row read. */
const BUSY_POLL_MS = 250

/** An hour: whoever waits longer inside one call of a tool should come back instead. */
export const WAIT_MAX_MS = 3_600_000

const isFunction = (value: unknown): boolean => typeof value === 'function'
const isOversight = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  ['open', 'request', 'inspect'].every((name) => isFunction(Reflect.get(value, name)))

/** For the adapters' own schemas: `custom` keeps what is the caller's own as it is. */
export const callback = <Callback>(): z.ZodType<Callback> => z.custom<Callback>(isFunction, 'must be a function')

export const gatedToolShape = {
  oversight: z.custom<ToolOversight>(isOversight, 'must be what createOversight returns'),
  action: z.custom<Action>(isAction, 'must come from defineAction'),
  summary: callback<(input: unknown) => string>(),
  effect: callback<(claim: ExecutionClaim<unknown>, call: EffectCall) => Promise<JsonValue>>(),
  busyWaitMs: z.int().min(0).max(WAIT_MAX_MS).exactOptional(),
  platform: z
    .custom<Platform>((value) => typeof value === 'object' && value !== null, 'must be a platform')
    .exactOptional()
}

const callSchema = z.object({
  origin: z.object({ thread: keySchema }),
  // Some models leave it empty, and then every call would be one and the same. Providers' own are below 100 characters.
  toolCallId: z.string().min(1).max(1_024)
})

/** Makes a gated tool of options that the adapter has checked with `gatedToolShape`. */
export function createGatedTool<Detail, Input, Result extends JsonValue>(
  options: GatedToolOptions<Detail, Input, Result>
): GatedTool<Input, Result> {
  const { oversight, action, summary, effect, busyWaitMs = BUSY_WAIT_MS, platform = systemPlatform } = options
  const { clock } = platform

  const open = async ({
    origin,
    toolCallId,
    input
  }: ToolCall<Input>): Promise<ApprovalRequest<Detail> | ToolCallRefusal> => {
    parseOptions(callSchema, 'tool call', { origin, toolCallId })
    const { tenant, requestedBy } = origin
    const idempotencyKey = toolCallKey(origin, toolCallId)
    try {
      // Before the summary is made of it: what a model or a stored history holds may be anything.
      await detailOf(action, input)
      return await oversight.open(action, {
        idempotencyKey,
        tenant,
        requestedBy,
        task: origin.thread,
        summary: summary(input),
        detail: input
      })
    } catch (error) {
      const refusal = refusedAtOpening(error)
      if (refusal === undefined) throw error
      return refusal
    }
  }

  const look = async (requestId: string): Promise<ToolCallStanding> =>
    refusalOf(requestId, await oversight.inspect(requestId)) ?? { outcome: 'approved', requestId }

  const verdict = async (requestId: string, { waitMs, signal }: VerdictWait): Promise<ToolCallStanding> => {
    signal?.throwIfAborted()
    if (waitMs > 0) {
      const over = new AbortController()
      const timer = clock.startTimer(waitMs, () => over.abort())
      const either = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal])
      try {
        await oversight.request(action, requestId).settled({ signal: either })
      } catch (error) {
        if (!over.signal.aborted || signal?.aborted === true) throw error
      } finally {
        timer.cancel()
      }
    }
    return look(requestId)
  }

  const execute = async (
    request: ApprovalRequest<Detail>,
    call: EffectCall
  ): Promise<Executed<Result> | { readonly outcome: 'no-effect'; readonly reason: string }> => {
    const until = clock.monotonic() + busyWaitMs
    for (;;) {
      call.signal?.throwIfAborted()
      try {
        const execution = await request.execute((claim) => effect(claim, call))
        if (execution.outcome !== 'busy' || clock.monotonic() >= until) return execution
      } catch (error) {
        if (!isSuiteError(error, 'NO_EFFECT')) throw error
        return { outcome: 'no-effect', reason: (error.detail as OversightErrorTable['NO_EFFECT']).reason }
      }
      await sleep(clock, BUSY_POLL_MS, { signal: call.signal })
    }
  }

  return {
    async standing(call) {
      const opened = await open(call)
      return isRefusal(opened) ? opened : look(opened.id)
    },
    async settled(call, wait) {
      wait.signal?.throwIfAborted()
      const opened = await open(call)
      return isRefusal(opened) ? opened : verdict(opened.id, wait)
    },
    verdict,
    async withdraw(call, reason) {
      const opened = await open(call)
      if (isRefusal(opened)) return opened
      await opened.cancel({ by: call.origin.requestedBy.agent, reason })
      return look(opened.id)
    },
    async run(call, { signal }) {
      signal?.throwIfAborted()
      const opened = await open(call)
      if (isRefusal(opened)) return opened
      const { id: requestId } = opened
      const view = await oversight.inspect(requestId)
      const refusal = refusalOf(requestId, view)
      if (refusal !== undefined) return refusal
      const execution = await execute(opened, { toolCallId: call.toolCallId, signal })
      switch (execution.outcome) {
        case 'executed':
        case 'replayed': {
          const { outcome, result } = execution
          return { outcome, requestId, result, changedTo: view.version > 1 ? view.detail : undefined }
        }
        case 'in-doubt':
          return inDoubt(requestId, execution.cause)
        case 'no-effect':
          return noEffectRefusal(requestId, execution.reason)
        case 'busy':
          return plainRefusal('busy', requestId)
        default:
          // The approval was good a moment ago: it was withdrawn or ran out in between.
          return refusalOf(requestId, await oversight.inspect(requestId)) ?? plainRefusal('revoked', requestId)
      }
    }
  }
}

const isRefusal = (value: object): value is ToolCallRefusal => 'message' in value

/** What the model can be told of a request that was not opened; undefined for faults that are not the model's. */
function refusedAtOpening(error: unknown): ToolCallRefusal | undefined {
  if (isSuiteError(error, 'INVALID_DETAIL')) return invalid(error.message)
  if (isSuiteError(error, 'IDEMPOTENCY_KEY_REUSED')) {
    return plainRefusal('altered', (error.detail as OversightErrorTable['IDEMPOTENCY_KEY_REUSED']).requestId)
  }
  // The summary is made of the arguments, and the model may have put a line break into one.
  if (isSuiteError(error, 'INVALID_OPTIONS')) {
    const { issues } = error.detail as { readonly issues: readonly Issue[] }
    if (issues.every(({ path }) => path === 'summary')) return invalid(`The summary of this call ${issues[0]?.message}`)
  }
  return undefined
}
