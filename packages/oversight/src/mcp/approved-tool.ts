import { createIdSource, type JsonValue, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import {
  callback,
  createGatedTool,
  type GatedToolOptions,
  gatedToolShape,
  type ToolCallOutcome,
  WAIT_MAX_MS
} from '../tool-call/gated-tool.ts'
import { modelResult } from '../tool-call/model-result.ts'
import { plainRefusal } from '../tool-call/refusal.ts'
import type { ToolCall, ToolCallOrigin } from '../tool-call/tool-call.ts'

/** What travels through the client between the rounds of a call: its id, and nothing that decides. */
export interface ApprovalState {
  readonly call: string
}

/** The part of the SDK's `ServerContext` that is used. */
export interface McpContext {
  readonly mcpReq: {
    readonly inputResponses?: { readonly [key: string]: unknown } | undefined
    readonly envelope?: object | undefined
    readonly signal: AbortSignal
    requestState(): unknown
  }
}

/** The SDK's `createRequestStateCodec({ key, ttlSeconds })`; let its states live as long as the policy waits. */
export interface RequestStateSeal<Context> {
  mint(state: ApprovalState, context?: Context): Promise<string>
  verify(state: string, context: Context): Promise<unknown>
}

/** The part of the SDK's `inputRequired` that is used. */
export interface InputRequiredBuilder<Embedded, Required> {
  (spec: { inputRequests?: { [key: string]: Embedded }; requestState?: string }): Required
  elicitUrl(params: { message: string; url: string }): Embedded
}

/** The SDK's `CallToolResult`, as far as it is used. */
export interface ApprovedResult {
  content: { type: 'text'; text: string }[]
  structuredContent?: { [key: string]: unknown }
  isError?: boolean
  [key: string]: unknown
}

export interface ApprovedToolOptions<
  Detail,
  Input,
  Result extends JsonValue,
  Context extends McpContext,
  Embedded,
  Required
> extends GatedToolOptions<Detail, Input, Result> {
  /** The SDK's own. */
  readonly inputRequired: InputRequiredBuilder<Embedded, Required>
  readonly state: RequestStateSeal<Context>
  /**
   * Where calls come from. MCP has no threads: let `thread` name the authenticated client or user, the same in every
   * round, so that nobody can carry on a call with the state of somebody else's.
   */
  readonly origin: (context: Context) => ToolCallOrigin
  /** The page where the request can be read and, by whoever may, decided: the inbox, not a link that holds a vote. */
  readonly approvalUrl: (requestId: string) => string
  /**
   * How long each round but the first waits for the verdict. 25 s unless given: well below the 60 s after which clients
   * give up a request, and with their 10 rounds close to 4 minutes in all.
   */
  readonly waitMs?: number
}

const WAIT_MS = 25_000

/** The key of our one input request. */
const KEY = 'approval'

/** Where the approval was there before, and nothing is left to withdraw. */
const DECLINED = 'The user declined this call, so nothing was carried out in answer to that.'

/** What a client declares of itself in each request (protocol 2026-07-28). */
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'

const stateSchema = z.strictObject({ call: z.string().min(1).max(128) })

const optionsSchema = z.strictObject({
  ...gatedToolShape,
  inputRequired: callback<object>(),
  state: z.custom<object>(
    (value) => typeof value === 'object' && value !== null && 'mint' in value && 'verify' in value,
    {
      message: 'must be what createRequestStateCodec returns'
    }
  ),
  origin: callback<object>(),
  approvalUrl: callback<object>(),
  waitMs: z.int().min(0).max(WAIT_MAX_MS).exactOptional()
})

/**
 * The handler of an MCP tool (`registerTool`, protocol 2026-07-28) of which every call is approved first and carried
 * out at most once. The first round asks and answers `input_required` with the page of the request; later rounds wait
 * for the verdict in the store. Replayed rounds, in whatever order and however many, carry out the one call.
 *
 * An elicitation is answered by the user of the MCP client, who is mostly the one who asks. So it is never the vote: it
 * shows where the request is, and its `decline` withdraws it. Throws `INVALID_OPTIONS` (core).
 */
export function approvedTool<Detail, Input, Result extends JsonValue, Context extends McpContext, Embedded, Required>(
  options: ApprovedToolOptions<Detail, Input, Result, Context, Embedded, Required>
): (input: Input, context: Context) => Promise<ApprovedResult | Required> {
  parseOptions(optionsSchema, 'approvedTool', options)
  const { inputRequired, state, origin, approvalUrl, summary, waitMs = WAIT_MS, platform = systemPlatform } = options
  const gated = createGatedTool(options)
  const nextId = createIdSource(platform)

  return async (input, context) => {
    const { signal, inputResponses } = context.mcpReq
    const held = await heldState(state, context)
    if (held === 'forged') return refused(plainRefusal('altered', undefined).message)
    const call: ToolCall<Input> = { origin: origin(context), toolCallId: held?.call ?? nextId(), input }
    if (declines(inputResponses?.[KEY])) {
      const standing = await gated.withdraw(call, 'the user of the MCP client declined')
      return refused(standing.outcome === 'approved' ? DECLINED : standing.message)
    }
    if (held !== undefined) await gated.settled(call, { waitMs, signal })
    const outcome = await gated.run(call, { signal })
    if (outcome.outcome !== 'pending' || outcome.requestId === undefined) return resultOf(outcome)
    const requestState = await state.mint({ call: call.toolCallId }, context)
    // Once is enough: a client that is asked again would ask its user again, and not wait.
    if (held !== undefined || !opensUrls(context)) return inputRequired({ requestState })
    const message = `${summary(input)}. A person who may decide has to approve this; you can follow it here.`
    const elicitation = inputRequired.elicitUrl({ message, url: approvalUrl(outcome.requestId) })
    return inputRequired({ inputRequests: { [KEY]: elicitation }, requestState })
  }
}

/** The state that the client sent back; undefined in the first round. A server without the codec's hook hands it on raw. */
async function heldState<Context extends McpContext>(
  seal: RequestStateSeal<Context>,
  context: Context
): Promise<ApprovalState | 'forged' | undefined> {
  const sent = context.mcpReq.requestState()
  if (sent === undefined) return undefined
  try {
    const parsed = stateSchema.safeParse(typeof sent === 'string' ? await seal.verify(sent, context) : sent)
    return parsed.success ? parsed.data : 'forged'
  } catch {
    return 'forged'
  }
}

const declines = (response: unknown): boolean =>
  typeof response === 'object' && response !== null && Reflect.get(response, 'action') === 'decline'

/** Whether the client can be asked to open a page. One of an older protocol is asked; the SDK sees to its answer. */
function opensUrls({ mcpReq: { envelope } }: McpContext): boolean {
  if (envelope === undefined) return true
  const capabilities = Reflect.get(envelope, CAPABILITIES) as
    | { readonly elicitation?: { readonly url?: object } }
    | undefined
  return capabilities?.elicitation?.url !== undefined
}

function resultOf<Result extends JsonValue>(outcome: ToolCallOutcome<Result>): ApprovedResult {
  if (outcome.outcome !== 'executed' && outcome.outcome !== 'replayed') return refused(outcome.message)
  const { result } = outcome
  const content = [{ type: 'text' as const, text: JSON.stringify(modelResult(outcome)) }]
  // Held to the tool's output schema, so it is the effect's own result, also where a person changed the arguments.
  if (typeof result !== 'object' || result === null || Array.isArray(result)) return { content }
  return { content, structuredContent: { ...result } }
}

const refused = (text: string): ApprovedResult => ({ isError: true, content: [{ type: 'text', text }] })
