import { type JsonValue, parseOptions, type Requester } from '@enablement/core'
import { z } from 'zod'
import {
  callback,
  createGatedTool,
  type GatedToolOptions,
  gatedToolShape,
  type ToolCallOutcome,
  type ToolCallStanding,
  type VerdictWait
} from '../tool-call/gated-tool.ts'
import { modelResult } from '../tool-call/model-result.ts'
import type { ToolCall, ToolCallOrigin } from '../tool-call/tool-call.ts'
import { type ApprovalInterrupt, INTERRUPT_TYPE } from './approval-interrupt.ts'

/** The part of LangChain's `RunnableConfig`, or of a `Runtime`, that is used. */
export interface GraphConfig {
  readonly configurable?: { readonly [key: string]: unknown } | undefined
  readonly toolCall?: { readonly id?: string | undefined } | undefined
  readonly signal?: AbortSignal | undefined
}

export interface ApprovedToolOptions<Detail, Input, Result extends JsonValue>
  extends GatedToolOptions<Detail, Input, Result> {
  /** LangGraph's own `interrupt`. */
  readonly interrupt: (value: ApprovalInterrupt) => unknown
  /**
   * Where calls come from. Without a function the thread is the `thread_id` of the configuration; with one it is what
   * that makes of the configuration.
   */
  readonly origin:
    | { readonly tenant: string; readonly requestedBy: Requester }
    | ((config: GraphConfig) => ToolCallOrigin)
}

/** A tool for nodes and for LangChain's `tool`. */
export interface ApprovedTool<Input, Result> {
  readonly action: string
  /**
   * For a node: asks, interrupts the graph as long as there is no verdict, and runs the effect of an approved call at
   * most once, however often LangGraph runs the node from its start. `toolCallId` is unique within the thread. The value
   * that the graph is resumed with is not looked at: the verdict is in the store.
   */
  call(
    input: Input,
    call: { readonly toolCallId: string; readonly config: GraphConfig }
  ): Promise<ToolCallOutcome<Result>>
  /**
   * For `tool(refund.invoke, { name, schema })`, whose calls come with their ids: the same, with the result as JSON text
   * or the text that tells the model what happened.
   */
  invoke(input: Input, config: GraphConfig): Promise<string>
  /** How a request of this tool stands, for `resumption`. */
  verdict(requestId: string, wait: VerdictWait): Promise<ToolCallStanding>
  /** Opens the request of a call without an interrupt of its own, for `hitlResponse`. */
  settled(
    input: Input,
    call: { readonly toolCallId: string; readonly config: GraphConfig },
    wait: VerdictWait
  ): Promise<ToolCallStanding>
}

const optionsSchema: z.ZodType<ApprovedToolOptions<unknown, unknown, JsonValue>> = z.strictObject({
  ...gatedToolShape,
  interrupt: callback<(value: ApprovalInterrupt) => unknown>(),
  origin: z.union([
    z.custom<{ tenant: string; requestedBy: Requester }>((value) => typeof value === 'object' && value !== null),
    callback<(config: GraphConfig) => ToolCallOrigin>()
  ])
})

/**
 * A tool of LangGraph (1.7) of which every call is approved first and carried out at most once. Throws
 * `INVALID_OPTIONS` (core).
 */
export function approvedTool<Detail, Input, Result extends JsonValue>(
  options: ApprovedToolOptions<Detail, Input, Result>
): ApprovedTool<Input, Result> {
  parseOptions(optionsSchema, 'approvedTool', options)
  const { action, interrupt, origin, summary } = options
  const gated = createGatedTool(options)

  const originOf = (config: GraphConfig): ToolCallOrigin => {
    if (typeof origin === 'function') return origin(config)
    const thread = config.configurable?.['thread_id']
    return { ...origin, thread: typeof thread === 'string' ? thread : '' }
  }
  const callOf = (input: Input, toolCallId: string, config: GraphConfig): ToolCall<Input> => ({
    origin: originOf(config),
    toolCallId,
    input
  })

  const call: ApprovedTool<Input, Result>['call'] = async (input, { toolCallId, config }) => {
    const wanted = callOf(input, toolCallId, config)
    for (;;) {
      const outcome = await gated.run(wanted, { signal: config.signal })
      if (outcome.outcome !== 'pending' || outcome.requestId === undefined) return outcome
      // Throws as long as no resume value is left for this task. One that there is may be meant for another call in the
      // same task, or come before the verdict, so it only makes the store be looked at again.
      interrupt({
        type: INTERRUPT_TYPE,
        requestId: outcome.requestId,
        action: action.name,
        toolCallId,
        summary: summary(input)
      })
    }
  }

  return {
    action: action.name,
    call,
    async invoke(input, config) {
      const outcome = await call(input, { toolCallId: config.toolCall?.id ?? '', config })
      if (outcome.outcome !== 'executed' && outcome.outcome !== 'replayed') return outcome.message
      return JSON.stringify(modelResult(outcome))
    },
    verdict: gated.verdict,
    settled: (input, { toolCallId, config }, wait) => gated.settled(callOf(input, toolCallId, config), wait)
  }
}
