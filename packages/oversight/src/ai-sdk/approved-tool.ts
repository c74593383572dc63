import { type JsonValue, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { OversightError } from '../oversight-error.ts'
import {
  callback,
  createGatedTool,
  type GatedToolOptions,
  gatedToolShape,
  type ToolCallStanding,
  WAIT_MAX_MS
} from '../tool-call/gated-tool.ts'
import { type ChangedCall, modelResult } from '../tool-call/model-result.ts'
import type { ToolCall, ToolCallOrigin } from '../tool-call/tool-call.ts'

export interface ApprovedToolOptions<Detail, Input, Result extends JsonValue>
  extends GatedToolOptions<Detail, Input, Result> {
  /** Where calls come from, or a function that takes it from the context that the SDK keeps for this tool. */
  readonly origin: ToolCallOrigin | ((toolContext: unknown) => ToolCallOrigin)
}

/** The part of the SDK's `ToolExecutionOptions` that is used. */
export interface ToolExecutionCall {
  readonly toolCallId: string
  readonly abortSignal?: AbortSignal | undefined
  readonly context?: unknown
}

/** The part of what the SDK hands to an approval function that is used. */
export interface ToolApprovalCall {
  readonly toolCallId: string
  readonly toolContext?: unknown
}

/** The statuses of the SDK's `ToolApprovalStatus` that are used. */
export interface ToolApproval {
  type: 'approved' | 'denied' | 'user-approval'
  reason?: string
}

export interface InBandOptions {
  /** How long a step of the agent may stand still for a verdict, from 0 to an hour. */
  readonly waitMs: number
  /**
   * What to do when that is over: `user-approval` ends the call and leaves the request open, to be carried on with
   * `approvalResponses`; `deny` withdraws the request and tells the model that nobody has decided.
   */
  readonly onWaitOver: 'user-approval' | 'deny'
  /** The one that `generateText` was given, for the SDK hands none to approval functions. */
  readonly signal?: AbortSignal
}

/** What to build the SDK's tool of. */
export interface ApprovedTool<Input, Result> {
  /**
   * For `tool({ execute })`. Runs the effect of an approved call at most once, however often and wherever the SDK calls
   * it, and returns the result that it had. Throws `TOOL_CALL_REFUSED` otherwise, which the SDK makes a `tool-error`
   * whose text tells the model what happened.
   */
  execute(input: Input, options: ToolExecutionCall): Promise<Result | ChangedCall<Result>>
  /**
   * For `toolApproval`, out-of-band: asks, and ends the call of the SDK with a `tool-approval-request`, unless there is
   * a verdict already.
   */
  requestApproval(input: Input, options: ToolApprovalCall): Promise<ToolApproval>
  /** For `toolApproval`, in-band: asks, and waits for the verdict within the step. */
  awaitApproval(options: InBandOptions): (input: Input, options: ToolApprovalCall) => Promise<ToolApproval>
  /** How a call of this tool stands, for `approvalResponses`. */
  standing(
    input: Input,
    options: ToolApprovalCall & { readonly waitMs: number; readonly signal?: AbortSignal | undefined }
  ): Promise<ToolCallStanding>
}

const optionsSchema: z.ZodType<ApprovedToolOptions<unknown, unknown, JsonValue>> = z.strictObject({
  ...gatedToolShape,
  origin: z.union([
    z.custom<ToolCallOrigin>((value) => typeof value === 'object' && value !== null),
    callback<(toolContext: unknown) => ToolCallOrigin>()
  ])
})

const inBandSchema: z.ZodType<InBandOptions> = z.strictObject({
  waitMs: z.int().min(0).max(WAIT_MAX_MS),
  onWaitOver: z.enum(['user-approval', 'deny']),
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'must be an AbortSignal').exactOptional()
})

/**
 * A tool of the AI SDK (7) of which every call is approved first and carried out at most once. The approval is bound to
 * the arguments: a message history that carries others under the same call is refused. An approval in that history is
 * a hint to the SDK and no more; what counts is the verdict in the store. Throws `INVALID_OPTIONS` (core).
 */
export function approvedTool<Detail, Input, Result extends JsonValue>(
  options: ApprovedToolOptions<Detail, Input, Result>
): ApprovedTool<Input, Result> {
  parseOptions(optionsSchema, 'approvedTool', options)
  const { origin } = options
  const gated = createGatedTool(options)
  const callOf = (input: Input, toolCallId: string, toolContext: unknown): ToolCall<Input> => ({
    origin: typeof origin === 'function' ? origin(toolContext) : origin,
    toolCallId,
    input
  })

  return {
    async execute(input, { toolCallId, abortSignal, context }) {
      const outcome = await gated.run(callOf(input, toolCallId, context), { signal: abortSignal })
      if (outcome.outcome === 'executed' || outcome.outcome === 'replayed') return modelResult(outcome)
      const { outcome: because, requestId, message } = outcome
      const cause = outcome.outcome === 'in-doubt' ? outcome.cause : undefined
      throw new OversightError('TOOL_CALL_REFUSED', message, { because, requestId, toolCallId }, { cause })
    },
    async requestApproval(input, { toolCallId, toolContext }) {
      return approvalOf(await gated.standing(callOf(input, toolCallId, toolContext)))
    },
    awaitApproval(inBand) {
      const { waitMs, onWaitOver, signal } = parseOptions(inBandSchema, 'awaitApproval', inBand)
      return async (input, { toolCallId, toolContext }) => {
        const call = callOf(input, toolCallId, toolContext)
        const standing = await gated.settled(call, { waitMs, signal })
        if (standing.outcome !== 'pending' || onWaitOver === 'user-approval') return approvalOf(standing)
        const reason = `nobody decided within ${waitMs} ms`
        const withdrawn = await gated.withdraw(call, reason)
        if (withdrawn.outcome !== 'cancelled') return approvalOf(withdrawn)
        return { type: 'denied', reason: `This call was not carried out: ${reason}. That is no refusal by a person.` }
      }
    },
    standing(input, { toolCallId, toolContext, waitMs, signal }) {
      return gated.settled(callOf(input, toolCallId, toolContext), { waitMs, signal })
    }
  }
}

function approvalOf(standing: ToolCallStanding): ToolApproval {
  switch (standing.outcome) {
    case 'approved':
      return { type: 'approved' }
    case 'pending':
      return { type: 'user-approval', reason: standing.message }
    default:
      return { type: 'denied', reason: standing.message }
  }
}
