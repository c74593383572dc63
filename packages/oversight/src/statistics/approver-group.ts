import { z } from 'zod'
import {
  absorb,
  type Distribution,
  type DistributionState,
  distributionOf,
  distributionSchema,
  emptyDistribution,
  note
} from './distribution.ts'
import type { SettledRequest } from './settled-request.ts'

/** What one approver was asked and answered. */
export interface ApproverFigures {
  /** Requests that were put to them. */
  readonly asked: number
  readonly approved: number
  readonly denied: number
  /** From being asked to voting; its `p50Ms` is their median. */
  readonly response: Distribution
}

/** What the figures are made of, as plain JSON. */
export interface ApproverState {
  asked: number
  approved: number
  denied: number
  response: DistributionState
}

const countSchema = z.int().min(0)

export const approverSchema: z.ZodType<ApproverState> = z.strictObject({
  asked: countSchema,
  approved: countSchema,
  denied: countSchema,
  response: distributionSchema
})

export function emptyApprover(): ApproverState {
  return { asked: 0, approved: 0, denied: 0, response: emptyDistribution() }
}

/** Counts what a request asked of its approvers: each once, from when they were first asked. */
export function countApprovers({ asked, votes }: SettledRequest, of: (approver: string) => ApproverState): void {
  const since = new Map<string, number>()
  for (const { approver, askedAt } of asked) since.set(approver, Math.min(askedAt, since.get(approver) ?? askedAt))
  for (const approver of since.keys()) of(approver).asked += 1
  for (const { approver, decision, votedAt } of votes) {
    const state = of(approver)
    if (decision === 'approve') state.approved += 1
    else state.denied += 1
    const askedAt = since.get(approver)
    if (askedAt !== undefined) note(state.response, votedAt - askedAt)
  }
}

export function absorbApprover(state: ApproverState, other: ApproverState): void {
  state.asked += other.asked
  state.approved += other.approved
  state.denied += other.denied
  absorb(state.response, other.response)
}

export function approverFiguresOf({ asked, approved, denied, response }: ApproverState): ApproverFigures {
  return { asked, approved, denied, response: distributionOf(response) }
}
