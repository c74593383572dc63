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
import { SETTLED_STATUSES, type SettledRequest, type SettledStatus } from './settled-request.ts'

/** What became of the requests of one kind. */
export interface RequestFigures {
  readonly requests: number
  readonly outcomes: { readonly [status in SettledStatus]: number }
  /** From opening to verdict, of those that people decided. */
  readonly timeToDecide: Distribution
  /** Of those that have a target; the rest are neither. */
  readonly target: { readonly met: number; readonly breached: number }
}

/** What the figures are made of, as plain JSON. */
export interface GroupState {
  requests: number
  outcomes: { [status in SettledStatus]: number }
  timeToDecide: DistributionState
  met: number
  breached: number
}

const countSchema = z.int().min(0)

export const groupSchema: z.ZodType<GroupState> = z.strictObject({
  requests: countSchema,
  outcomes: z.record(z.enum(SETTLED_STATUSES), countSchema),
  timeToDecide: distributionSchema,
  met: countSchema,
  breached: countSchema
})

export function emptyGroup(): GroupState {
  const outcomes = { approved: 0, denied: 0, 'timed-out': 0, cancelled: 0, revoked: 0 }
  return { requests: 0, outcomes, timeToDecide: emptyDistribution(), met: 0, breached: 0 }
}

/** Whether a request kept to a target; undefined when it says nothing about it. */
export function keptTo(targetMs: number | undefined, request: SettledRequest): boolean | undefined {
  if (targetMs === undefined) return undefined
  const isInTime = request.settledAt - request.openedAt <= targetMs
  switch (request.decidedBy) {
    case 'person':
      return isInTime
    // Nobody was asked.
    case 'grant':
      return undefined
    case 'system':
      return false
    case 'nobody':
      // Withdrawn in time, it might still have been decided in time.
      return request.status === 'cancelled' && isInTime ? undefined : false
  }
}

export function countRequest(group: GroupState, request: SettledRequest, kept: boolean | undefined): void {
  group.requests += 1
  group.outcomes[request.status] += 1
  if (request.decidedBy === 'person') note(group.timeToDecide, request.settledAt - request.openedAt)
  if (kept === true) group.met += 1
  if (kept === false) group.breached += 1
}

export function absorbGroup(group: GroupState, other: GroupState): void {
  group.requests += other.requests
  for (const status of SETTLED_STATUSES) group.outcomes[status] += other.outcomes[status]
  absorb(group.timeToDecide, other.timeToDecide)
  group.met += other.met
  group.breached += other.breached
}

export function figuresOf({ requests, outcomes, timeToDecide, met, breached }: GroupState): RequestFigures {
  return { requests, outcomes: { ...outcomes }, timeToDecide: distributionOf(timeToDecide), target: { met, breached } }
}
