import type { ApprovedTool } from './approved-tool.ts'

/** The part of the SDK's `RunToolApprovalItem` that is used. */
export interface ApprovalItem {
  readonly name?: string | undefined
  /** JSON, as the model wrote it. */
  readonly arguments?: string | undefined
  readonly rawItem: object
}

/** The part of the SDK's `RunState` that is used. */
export interface InterruptedState<Item extends ApprovalItem> {
  getInterruptions(): Item[]
  approve(item: Item): void
  reject(item: Item, options?: { message?: string }): void
}

/** What became of the interruptions of a run. Counts calls of the given tools alone. */
export type AppliedVerdicts =
  /** Run the agent again with the state. Calls that still wait interrupt it again. */
  | {
      readonly outcome: 'resume'
      readonly approved: number
      readonly rejected: number
      readonly waiting: readonly string[]
    }
  /** Every call still waits; the ids are those of their requests. */
  | { readonly outcome: 'pending'; readonly waiting: readonly string[] }
  | { readonly outcome: 'nothing-asked' }

/**
 * Approves and rejects the interruptions of a run by the verdicts in the store, each by its own call. A rejection tells
 * the model why, and silence as silence. Interruptions of tools that are not in `tools` are left to whoever gates those.
 *
 * Waits up to `waitMs` (none unless given) for the verdicts, in parallel; rejects with the signal's reason when it
 * aborts, and then nothing was applied. `context` is what the run was given. Throws what `Oversight.open` throws.
 */
export async function applyVerdicts<Item extends ApprovalItem>(
  state: InterruptedState<Item>,
  options: {
    readonly tools: { readonly [toolName: string]: ApprovedTool<never, unknown> }
    readonly context?: unknown
    readonly waitMs?: number
    readonly signal?: AbortSignal
  }
): Promise<AppliedVerdicts> {
  const { tools, context, waitMs = 0, signal } = options
  const asked = await Promise.all(
    state.getInterruptions().flatMap((item) => {
      const { name = '', rawItem } = item
      const tool = Object.hasOwn(tools, name) ? tools[name] : undefined
      const callId: unknown = Reflect.get(rawItem, 'callId')
      if (tool === undefined || typeof callId !== 'string') return []
      const input: unknown = argumentsOf(item)
      return [
        tool.standing(input as never, { callId, context, waitMs, signal }).then((standing) => ({ item, standing }))
      ]
    })
  )
  if (asked.length === 0) return { outcome: 'nothing-asked' }
  const waiting: string[] = []
  let approved = 0
  let rejected = 0
  for (const { item, standing } of asked) {
    if (standing.outcome === 'pending') {
      if (standing.requestId !== undefined) waiting.push(standing.requestId)
    } else if (standing.outcome === 'approved') {
      state.approve(item)
      approved += 1
    } else {
      state.reject(item, { message: standing.message })
      rejected += 1
    }
  }
  return approved + rejected === 0
    ? { outcome: 'pending', waiting }
    : { outcome: 'resume', approved, rejected, waiting }
}

/** What cannot be parsed goes to the action's schema as it is, which refuses it. */
function argumentsOf({ arguments: text = '' }: ApprovalItem): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
