import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { RISKS, type Risk } from '../policy/risk.ts'
import {
  type ApproverFigures,
  type ApproverState,
  absorbApprover,
  approverFiguresOf,
  countApprovers,
  emptyApprover
} from './approver-group.ts'
import { absorb, type Distribution, distributionOf, emptyDistribution, note } from './distribution.ts'
import { labelTable, sorted } from './label-table.ts'
import {
  absorbGroup,
  countRequest,
  emptyGroup,
  figuresOf,
  type GroupState,
  keptTo,
  type RequestFigures
} from './request-group.ts'
import { type SettledRequest, settledRequestSchema, TIERS_MAX } from './settled-request.ts'
import {
  ACTIONS_MAX,
  APPROVERS_MAX,
  type SnapshotState,
  type StatisticsSnapshot,
  snapshotSchema,
  type Totals
} from './statistics-snapshot.ts'

/** What statistics are kept about, and how much of it. */
export interface StatisticsOptions {
  /** How soon requests of each risk should be decided. Those of a risk without a target neither meet nor breach one. */
  readonly targetMs?: { readonly [risk in Risk]?: number }
  /** How many actions are told apart, the first that come: 200 unless given, 2,000 at most. */
  readonly actionsMax?: number
  /** How many approvers are told apart, the first that come: 1,000 unless given, 10,000 at most. */
  readonly approversMax?: number
}

/** Figures of the requests that were counted. Actions and approvers are sorted by how much there is of each. */
export interface StatisticsReport extends RequestFigures {
  /** Verdicts of no person: by standing grants, and by the final actions of chains that nobody answered. */
  readonly automatic: { readonly byGrant: number; readonly bySystem: number }
  /** From when a request was first shown in full to its verdict, of those that people decided after that. */
  readonly timeFromView: Distribution
  /** Decided by people before it was shown to anybody in full. */
  readonly unviewed: number
  /** By how much chains were behind their own waits, of those that were. */
  readonly lateness: Distribution
  readonly risks: readonly (RequestFigures & { readonly risk: Risk })[]
  /** By the tier that was asked last; -1 for none. */
  readonly tiers: readonly (RequestFigures & { readonly tier: number })[]
  readonly actions: readonly (RequestFigures & { readonly action: string })[]
  /** Of the actions beyond `actionsMax`; undefined when there are none. */
  readonly otherActions: RequestFigures | undefined
  readonly approvers: readonly (ApproverFigures & { readonly approver: string })[]
  /** Of the approvers beyond `approversMax`, counted as one; undefined when there are none. */
  readonly otherApprovers: ApproverFigures | undefined
}

/** Counts settled requests one by one, in memory that is bounded however many there are. */
export interface Statistics {
  /** Throws `INVALID_OPTIONS` (core) with the path of what is wrong with the row, which is not counted then. */
  add(request: SettledRequest): void
  report(): StatisticsReport
  snapshot(): StatisticsSnapshot
  /**
   * Counts what others have counted: another process, another day. The figures are those that there would be if their
   * requests had been added here, as long as both tell the same actions and approvers apart. Throws `INVALID_OPTIONS`
   * (core) for what is no snapshot; nothing is counted then.
   */
  merge(snapshot: StatisticsSnapshot): void
}

const ACTIONS_USUALLY = 200
const APPROVERS_USUALLY = 1_000

const targetSchema = z
  .int()
  .min(1)
  .max(366 * 86_400_000)
  .exactOptional()

const optionsSchema: z.ZodType<StatisticsOptions> = z.strictObject({
  targetMs: z
    .strictObject({ low: targetSchema, medium: targetSchema, high: targetSchema, critical: targetSchema })
    .exactOptional(),
  actionsMax: z.int().min(0).max(ACTIONS_MAX).exactOptional(),
  approversMax: z.int().min(0).max(APPROVERS_MAX).exactOptional()
})

/** Statistics of nothing yet. Throws `INVALID_OPTIONS` (core). */
export function createStatistics(options: StatisticsOptions = {}): Statistics {
  const parsed = parseOptions(optionsSchema, 'createStatistics', options)
  const { targetMs = {}, actionsMax = ACTIONS_USUALLY, approversMax = APPROVERS_USUALLY } = parsed
  const totals: Totals = {
    all: emptyGroup(),
    byGrant: 0,
    bySystem: 0,
    unviewed: 0,
    timeFromView: emptyDistribution(),
    lateness: emptyDistribution()
  }
  const risks = labelTable<Risk, GroupState>(emptyGroup, RISKS.length)
  const tiers = labelTable<number, GroupState>(emptyGroup, TIERS_MAX + 1)
  const actions = labelTable<string, GroupState>(emptyGroup, actionsMax)
  const approvers = labelTable<string, ApproverState>(emptyApprover, approversMax)

  return {
    add(row) {
      const request = parseOptions(settledRequestSchema, 'Statistics.add', row)
      const { action, risk, tier } = request
      const kept = keptTo(targetMs[risk], request)
      const groups = [totals.all, risks.of(risk), tiers.of(tier), actions.of(action)]
      for (const group of groups) countRequest(group, request, kept)
      countApprovers(request, approvers.of)
      countTotals(totals, request)
    },
    report() {
      const { all, byGrant, bySystem, unviewed, timeFromView, lateness } = totals
      return {
        ...figuresOf(all),
        automatic: { byGrant, bySystem },
        timeFromView: distributionOf(timeFromView),
        unviewed,
        lateness: distributionOf(lateness),
        risks: sorted(risks.entries(), (_, risk) => -RISKS.indexOf(risk)).map(([risk, group]) => ({
          risk,
          ...figuresOf(group)
        })),
        tiers: sorted(tiers.entries(), () => 0).map(([tier, group]) => ({ tier, ...figuresOf(group) })),
        actions: sorted(actions.entries(), ({ requests }) => requests).map(([action, group]) => ({
          action,
          ...figuresOf(group)
        })),
        otherActions: actions.other.requests === 0 ? undefined : figuresOf(actions.other),
        approvers: sorted(approvers.entries(), ({ asked }) => asked).map(([approver, state]) => ({
          approver,
          ...approverFiguresOf(state)
        })),
        otherApprovers: isEmpty(approvers.other) ? undefined : approverFiguresOf(approvers.other)
      }
    },
    snapshot() {
      const state: SnapshotState = {
        totals,
        risks: risks.entries(),
        tiers: tiers.entries(),
        actions: actions.entries(),
        otherActions: actions.other,
        approvers: approvers.entries(),
        otherApprovers: approvers.other
      }
      return { version: 1, state: structuredClone(state) }
    },
    merge(snapshot) {
      const { state } = parseOptions(snapshotSchema, 'Statistics.merge', snapshot)
      absorbTotals(totals, state.totals)
      for (const [risk, group] of state.risks) absorbGroup(risks.of(risk), group)
      for (const [tier, group] of state.tiers) absorbGroup(tiers.of(tier), group)
      for (const [action, group] of state.actions) absorbGroup(actions.of(action), group)
      absorbGroup(actions.other, state.otherActions)
      for (const [approver, own] of state.approvers) absorbApprover(approvers.of(approver), own)
      absorbApprover(approvers.other, state.otherApprovers)
    }
  }
}

function countTotals(totals: Totals, { decidedBy, settledAt, firstViewedAt, lateByMs = 0 }: SettledRequest): void {
  if (lateByMs > 0) note(totals.lateness, lateByMs)
  if (decidedBy === 'grant') totals.byGrant += 1
  if (decidedBy === 'system') totals.bySystem += 1
  if (decidedBy !== 'person') return
  if (firstViewedAt === undefined || firstViewedAt > settledAt) totals.unviewed += 1
  else note(totals.timeFromView, settledAt - firstViewedAt)
}

function absorbTotals(totals: Totals, other: Totals): void {
  absorbGroup(totals.all, other.all)
  totals.byGrant += other.byGrant
  totals.bySystem += other.bySystem
  totals.unviewed += other.unviewed
  absorb(totals.timeFromView, other.timeFromView)
  absorb(totals.lateness, other.lateness)
}

const isEmpty = ({ asked, approved, denied }: ApproverState): boolean => asked + approved + denied === 0
