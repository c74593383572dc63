import { z } from 'zod'
import { RISKS, type Risk } from '../policy/risk.ts'
import { type ApproverState, approverSchema } from './approver-group.ts'
import { type DistributionState, distributionSchema } from './distribution.ts'
import { type GroupState, groupSchema } from './request-group.ts'
import { TIERS_MAX } from './settled-request.ts'

/** All that was counted, as plain JSON to be kept or sent, and merged. It is to be handed back as it is. */
export interface StatisticsSnapshot {
  readonly version: 1
  readonly state: object
}

/** Actions and approvers that are told apart at most: with their distributions some 20 and 100 MB. */
export const ACTIONS_MAX = 2_000
export const APPROVERS_MAX = 10_000

/** What is counted of all requests together. */
export interface Totals {
  all: GroupState
  byGrant: number
  bySystem: number
  unviewed: number
  timeFromView: DistributionState
  lateness: DistributionState
}

/** What is inside a snapshot. */
export interface SnapshotState {
  readonly totals: Totals
  readonly risks: readonly (readonly [Risk, GroupState])[]
  readonly tiers: readonly (readonly [number, GroupState])[]
  readonly actions: readonly (readonly [string, GroupState])[]
  readonly otherActions: GroupState
  readonly approvers: readonly (readonly [string, ApproverState])[]
  readonly otherApprovers: ApproverState
}

const countSchema = z.int().min(0)

/** What a snapshot must be that comes from elsewhere. */
export const snapshotSchema: z.ZodType<{ readonly version: 1; readonly state: SnapshotState }> = z.strictObject({
  version: z.literal(1),
  state: z.strictObject({
    totals: z.strictObject({
      all: groupSchema,
      byGrant: countSchema,
      bySystem: countSchema,
      unviewed: countSchema,
      timeFromView: distributionSchema,
      lateness: distributionSchema
    }),
    risks: z.array(z.tuple([z.enum(RISKS), groupSchema])).max(RISKS.length),
    tiers: z
      .array(
        z.tuple([
          z
            .int()
            .min(-1)
            .max(TIERS_MAX - 1),
          groupSchema
        ])
      )
      .max(TIERS_MAX + 1),
    actions: z.array(z.tuple([z.string(), groupSchema])).max(ACTIONS_MAX),
    otherActions: groupSchema,
    approvers: z.array(z.tuple([z.string(), approverSchema])).max(APPROVERS_MAX),
    otherApprovers: approverSchema
  })
})
