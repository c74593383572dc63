import type { ApprovedTool } from './approved-tool.ts'

/** The parts of the SDK's messages that are read; whatever else they hold is left alone. */
interface MessagePart {
  readonly type: string
  readonly approvalId?: string
  readonly toolCallId?: string
  readonly toolName?: string
  readonly input?: unknown
  readonly isAutomatic?: boolean
}

/** A message of the SDK's `ModelMessage[]`. */
export interface HistoryMessage {
  readonly role: string
  readonly content: unknown
}

/** The SDK's `ToolApprovalResponse`. */
export interface ApprovalResponse {
  type: 'tool-approval-response'
  approvalId: string
  approved: boolean
  reason?: string
}

/** Whether a message history can be carried on. */
export type ApprovalResponses =
  /** Append `message` to the history and call the SDK again. */
  | { readonly outcome: 'ready'; readonly message: { role: 'tool'; content: ApprovalResponse[] } }
  /** At least one call still waits. The SDK needs all responses at once, so there are none yet. */
  | { readonly outcome: 'pending'; readonly requestIds: readonly string[] }
  /** The history asks for no approval that is still to be given. */
  | { readonly outcome: 'nothing-asked' }

/**
 * Turns verdicts into the response that the SDK wants: for a later call of the SDK, or a later process. Approval
 * requests of tools that are not in `tools` are left to whoever gates those.
 *
 * Waits up to `waitMs` (none unless given) for the verdicts, in parallel; rejects with the signal's reason when it
 * aborts. `toolsContext` is what the SDK is called with. Throws what `Oversight.open` throws.
 */
export async function approvalResponses(
  messages: readonly HistoryMessage[],
  options: {
    readonly tools: { readonly [toolName: string]: ApprovedTool<never, unknown> }
    readonly toolsContext?: { readonly [toolName: string]: unknown }
    readonly waitMs?: number
    readonly signal?: AbortSignal
  }
): Promise<ApprovalResponses> {
  const { tools, toolsContext = {}, waitMs = 0, signal } = options
  const asked = unanswered(messages).flatMap(({ approvalId, toolCallId, toolName, input }) => {
    const tool = Object.hasOwn(tools, toolName) ? tools[toolName] : undefined
    return tool === undefined ? [] : [{ approvalId, toolCallId, toolName, input, tool }]
  })
  if (asked.length === 0) return { outcome: 'nothing-asked' }
  const standings = await Promise.all(
    asked.map(async ({ approvalId, toolCallId, toolName, input, tool }) => {
      const toolContext = toolsContext[toolName]
      return { approvalId, standing: await tool.standing(input as never, { toolCallId, toolContext, waitMs, signal }) }
    })
  )
  const waiting = standings.filter(({ standing }) => standing.outcome === 'pending')
  if (waiting.length > 0)
    return { outcome: 'pending', requestIds: waiting.flatMap(({ standing }) => standing.requestId ?? []) }
  const content = standings.map(({ approvalId, standing }): ApprovalResponse => {
    const response = { type: 'tool-approval-response', approvalId } as const
    if (standing.outcome === 'approved') return { ...response, approved: true }
    return { ...response, approved: false, reason: standing.message }
  })
  return { outcome: 'ready', message: { role: 'tool', content } }
}

/** The approval requests of a history that no later message responds to, with the calls that they are for. */
function unanswered(
  messages: readonly HistoryMessage[]
): readonly { approvalId: string; toolCallId: string; toolName: string; input: unknown }[] {
  const parts = messages.flatMap(({ content }) => (Array.isArray(content) ? (content as readonly MessagePart[]) : []))
  const calls = new Map(parts.filter(({ type }) => type === 'tool-call').map((part) => [part.toolCallId, part]))
  const answered = new Set(
    parts.filter(({ type }) => type === 'tool-approval-response').map(({ approvalId }) => approvalId)
  )
  return parts.flatMap(({ type, approvalId, toolCallId, isAutomatic }) => {
    if (type !== 'tool-approval-request' || approvalId === undefined || toolCallId === undefined) return []
    const call = calls.get(toolCallId)
    if (isAutomatic === true || answered.has(approvalId) || call?.toolName === undefined) return []
    return [{ approvalId, toolCallId, toolName: call.toolName, input: call.input }]
  })
}
