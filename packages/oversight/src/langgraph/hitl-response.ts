import { canonicalJson, isJson } from '@enablement/core'
import type { ApprovedTool, GraphConfig } from './approved-tool.ts'

/** The part of the `HITLRequest` of LangChain's `humanInTheLoopMiddleware` that is used. */
export interface HitlRequest {
  readonly actionRequests: readonly { readonly name: string; readonly args: Readonly<Record<string, unknown>> }[]
}

/** One of LangChain's decisions, in the order of the action requests. */
export type HitlDecision = { type: 'approve' } | { type: 'reject'; message: string }

/** Whether the middleware can be answered. */
export type HitlAnswer =
  /** Resume the interrupt with `response`: all decisions, in the order of the action requests. */
  | { readonly outcome: 'resume'; readonly response: { decisions: HitlDecision[] } }
  /** At least one call still waits. The middleware needs all decisions at once, so there are none yet. */
  | { readonly outcome: 'pending'; readonly waiting: readonly string[] }
  /** One of the action requests is of no given tool, or no call of the message has its arguments. Nobody was asked. */
  | { readonly outcome: 'unknown-action'; readonly name: string }

/**
 * Answers LangChain's `humanInTheLoopMiddleware` by the verdicts in the store, and asks for them first. The tools of the
 * agent have to be approved tools as well (`tool(refund.invoke, …)`), for it is they that run once.
 *
 * The middleware names no ids, so each action request is matched with the first call of `toolCalls` (those of the
 * message that was interrupted) of the same name and arguments. Arguments that a person changed are answered with
 * `approve`: the tool carries out what was approved, and tells the model. Waits as `resumption` does.
 */
export async function hitlResponse(
  request: HitlRequest,
  options: {
    readonly tools: { readonly [toolName: string]: ApprovedTool<never, unknown> }
    readonly toolCalls: readonly { readonly id?: string; readonly name: string; readonly args: unknown }[]
    readonly config: GraphConfig
    readonly waitMs?: number
    readonly signal?: AbortSignal
  }
): Promise<HitlAnswer> {
  const { tools, config, waitMs = 0, signal } = options
  const free = [...options.toolCalls]
  const calls = request.actionRequests.map(({ name, args }) => {
    const at = free.findIndex((call) => call.name === name && call.id !== undefined && isSame(call.args, args))
    const [call] = at < 0 ? [] : free.splice(at, 1)
    return { name, args, toolCallId: call?.id, tool: Object.hasOwn(tools, name) ? tools[name] : undefined }
  })
  const stranger = calls.find(({ tool, toolCallId }) => tool === undefined || toolCallId === undefined)
  if (stranger !== undefined) return { outcome: 'unknown-action', name: stranger.name }
  const standings = await Promise.all(
    calls.flatMap(({ args, tool, toolCallId }) =>
      tool === undefined || toolCallId === undefined
        ? []
        : [tool.settled(args as never, { toolCallId, config }, { waitMs, signal })]
    )
  )
  const waiting = standings.filter(({ outcome }) => outcome === 'pending').flatMap(({ requestId }) => requestId ?? [])
  if (waiting.length > 0) return { outcome: 'pending', waiting }
  const decisions = standings.map(
    (standing): HitlDecision =>
      standing.outcome === 'approved' ? { type: 'approve' } : { type: 'reject', message: standing.message }
  )
  return { outcome: 'resume', response: { decisions } }
}

const isSame = (one: unknown, other: unknown): boolean =>
  isJson(one) && isJson(other) && canonicalJson(one) === canonicalJson(other)
