import { type JsonValue, parseOptions } from '@enablement/core'
import { z } from 'zod'
import {
  callback,
  createGatedTool,
  type GatedToolOptions,
  gatedToolShape,
  type ToolCallStanding
} from '../tool-call/gated-tool.ts'
import { type ChangedCall, modelResult } from '../tool-call/model-result.ts'
import type { ToolCall, ToolCallOrigin } from '../tool-call/tool-call.ts'

export interface ApprovedToolOptions<Detail, Input, Result extends JsonValue>
  extends GatedToolOptions<Detail, Input, Result> {
  /** Where calls come from, or a function that takes it from the context that the run was given. */
  readonly origin: ToolCallOrigin | ((context: unknown) => ToolCallOrigin)
}

/** The part of the SDK's `RunContext` that is used. */
export interface RunContextPart {
  readonly context: unknown
}

/** The part of the SDK's `ToolCallDetails` that is used. */
export interface ToolCallDetailsPart {
  readonly toolCall?: { readonly callId: string } | undefined
  readonly signal?: AbortSignal | undefined
}

/** What to build the SDK's tool of: `tool({ name, description, parameters, needsApproval, execute })`. */
export interface ApprovedTool<Input, Result> {
  /** Asks, and interrupts the run as long as there is no verdict. */
  needsApproval(runContext: RunContextPart, input: Input, callId?: string): Promise<boolean>
  /**
   * Runs the effect of an approved call at most once, however often and wherever the run is resumed, and returns the
   * result that it had; otherwise a text that tells the model what happened.
   */
  execute(
    input: Input,
    runContext?: RunContextPart,
    details?: ToolCallDetailsPart
  ): Promise<Result | ChangedCall<Result> | string>
  /** How a call of this tool stands, for `applyVerdicts`. `context` is what the run was given. */
  standing(
    input: Input,
    call: {
      readonly callId: string
      readonly context: unknown
      readonly waitMs: number
      readonly signal?: AbortSignal | undefined
    }
  ): Promise<ToolCallStanding>
}

const optionsSchema: z.ZodType<ApprovedToolOptions<unknown, unknown, JsonValue>> = z.strictObject({
  ...gatedToolShape,
  origin: z.union([
    z.custom<ToolCallOrigin>((value) => typeof value === 'object' && value !== null),
    callback<(context: unknown) => ToolCallOrigin>()
  ])
})

/**
 * A tool of the OpenAI Agents SDK (0.20) of which every call is approved first and carried out at most once. The
 * approval is bound to the arguments; an approval inside a `RunState` is a hint to the SDK and no more, for the SDK does
 * not notice when a serialized state was tampered with. Throws `INVALID_OPTIONS` (core).
 */
export function approvedTool<Detail, Input, Result extends JsonValue>(
  options: ApprovedToolOptions<Detail, Input, Result>
): ApprovedTool<Input, Result> {
  parseOptions(optionsSchema, 'approvedTool', options)
  const { origin } = options
  const gated = createGatedTool(options)
  const callOf = (input: Input, callId: string, context: unknown): ToolCall<Input> => ({
    origin: typeof origin === 'function' ? origin(context) : origin,
    toolCallId: callId,
    input
  })

  return {
    async needsApproval(runContext, input, callId = '') {
      const { outcome } = await gated.standing(callOf(input, callId, runContext.context))
      // Any other answer is told at once by `execute`, which asks the store itself.
      return outcome === 'pending'
    },
    async execute(input, runContext, details = {}) {
      const call = callOf(input, details.toolCall?.callId ?? '', runContext?.context)
      const outcome = await gated.run(call, { signal: details.signal })
      return outcome.outcome === 'executed' || outcome.outcome === 'replayed' ? modelResult(outcome) : outcome.message
    },
    standing(input, { callId, context, waitMs, signal }) {
      return gated.settled(callOf(input, callId, context), { waitMs, signal })
    }
  }
}
