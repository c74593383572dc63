import { type GraphInterruptPart, isApprovalInterrupt } from './approval-interrupt.ts'
import type { ApprovedTool } from './approved-tool.ts'

/** The part of a `StateSnapshot` that is used; `await graph.getState(config)` is one. */
export interface InterruptedGraph {
  readonly tasks: readonly { readonly interrupts?: readonly GraphInterruptPart[] | undefined }[]
}

/** Whether an interrupted graph can be carried on. */
export type Resumption =
  /** Invoke the graph with `new Command({ resume })`. Calls that still wait interrupt it again. */
  | {
      readonly outcome: 'resume'
      /** By the ids of interrupts. What is said of the verdict is for the record: the tool asks the store itself. */
      readonly resume: { [interruptId: string]: { requestId: string; outcome: string } }
      readonly waiting: readonly string[]
    }
  /** Every call still waits; the ids are those of their requests. */
  | { readonly outcome: 'pending'; readonly waiting: readonly string[] }
  | { readonly outcome: 'nothing-asked' }

/**
 * Which interrupts of a graph have their verdict, each by its own id, so that parallel ones can be resumed in any order
 * and by any process. Interrupts that are not from `tools` are left to whoever raised them.
 *
 * Waits up to `waitMs` (none unless given) for the verdicts, in parallel; rejects with the signal's reason when it
 * aborts. Throws `UNKNOWN_REQUEST` and what the store throws.
 */
export async function resumption(
  graph: InterruptedGraph,
  options: {
    readonly tools: readonly ApprovedTool<never, unknown>[]
    readonly waitMs?: number
    readonly signal?: AbortSignal
  }
): Promise<Resumption> {
  const { tools, waitMs = 0, signal } = options
  const asked = await Promise.all(
    graph.tasks
      .flatMap(({ interrupts = [] }) => interrupts)
      .flatMap(({ id, value }) => {
        if (id === undefined || !isApprovalInterrupt(value)) return []
        const tool = tools.find(({ action }) => action === value.action)
        if (tool === undefined) return []
        const { requestId } = value
        return [tool.verdict(requestId, { waitMs, signal }).then(({ outcome }) => ({ id, requestId, outcome }))]
      })
  )
  if (asked.length === 0) return { outcome: 'nothing-asked' }
  const waiting = asked.filter(({ outcome }) => outcome === 'pending').map(({ requestId }) => requestId)
  if (waiting.length === asked.length) return { outcome: 'pending', waiting }
  const settled = asked.filter(({ outcome }) => outcome !== 'pending')
  const resume = Object.fromEntries(settled.map(({ id, requestId, outcome }) => [id, { requestId, outcome }]))
  return { outcome: 'resume', resume, waiting }
}
