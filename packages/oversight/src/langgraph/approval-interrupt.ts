/** Tells these interrupts from those of other nodes. */
export const INTERRUPT_TYPE = 'oversight.approval'

/** The value of an interrupt that waits for a verdict: enough to show it, and to find it again. */
export interface ApprovalInterrupt {
  readonly type: 'oversight.approval'
  readonly requestId: string
  readonly action: string
  readonly toolCallId: string
  readonly summary: string
}

/** The part of LangGraph's `Interrupt` that is used. */
export interface GraphInterruptPart {
  readonly id?: string | undefined
  readonly value?: unknown
}

/** Whether an interrupt's value is one of these. */
export function isApprovalInterrupt(value: unknown): value is ApprovalInterrupt {
  if (typeof value !== 'object' || value === null) return false
  const { type, requestId, action } = value as Partial<Record<keyof ApprovalInterrupt, unknown>>
  return type === INTERRUPT_TYPE && typeof requestId === 'string' && typeof action === 'string'
}
