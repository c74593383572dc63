import { z } from 'zod'
import { identitySchema } from '../directory/identity.ts'

/** A group of people who are asked together, and how long they have before the next group is asked. */
export interface Tier {
  /** Ids of those who may decide from the moment the tier is asked. Nobody: the tier is skipped at once. */
  readonly approvers: readonly string[]
  /** Names of the channels through which each of them is invited, all at once. */
  readonly channels: readonly string[]
  /** How long until the next tier is asked, whether the people of this one were reached and are silent or were not. */
  readonly waitMs: number
  /** When every invitation of the tier is known to have failed, ask the next one at once instead of after `waitMs`. */
  readonly skipIfUnreachable?: boolean
}

/** Who is asked about an action, in which order, and what happens when nobody decides. */
export interface ApprovalPolicy {
  readonly tiers: readonly Tier[]
  /**
   * What happens when the last tier's wait has passed: `deny` settles the request as denied by `system:escalation`,
   * with an explanation; `queue` clears the deadline and holds it until someone who was asked decides after all.
   */
  readonly onExhausted: 'deny' | 'queue'
  /** How several votes make a verdict. `first-wins`, also the default: the first vote that the store commits. */
  readonly strategy?: 'first-wins'
  /**
   * After how long, counted from its opening, an undecided request is `timed-out`, wherever the chain has got to. A
   * vote at that very millisecond is too late. None unless given: the chain's own waits end it.
   */
  readonly deadlineMs?: number
}

/** A year: beyond it a wait is a unit mistaken for another, such as seconds given in microseconds. */
const WAIT_MAX_MS = 366 * 86_400_000

/** Tiers, people and channels of a policy. A request may have their product in invitations, all written in one unit. */
const TIERS_MAX = 16
const APPROVERS_MAX = 50
const CHANNELS_MAX = 8

const waitSchema = z.int().min(1).max(WAIT_MAX_MS)

const tierSchema = z
  .strictObject({
    approvers: z.array(identitySchema).max(APPROVERS_MAX),
    channels: z.array(identitySchema).max(CHANNELS_MAX),
    waitMs: waitSchema,
    skipIfUnreachable: z.boolean().exactOptional()
  })
  .check(({ value, issues }) => {
    for (const list of ['approvers', 'channels'] as const) {
      for (const [at, name] of value[list].entries()) {
        if (value[list].indexOf(name) === at) continue
        issues.push({ code: 'custom', input: name, path: [list, at], message: 'is named twice' })
      }
    }
    if (value.approvers.length > 0 && value.channels.length === 0) {
      issues.push({ code: 'custom', input: value, path: ['channels'], message: 'leaves no way to invite anyone' })
    }
  })

/** What a policy must be; a chain in which nobody could ever decide is refused. */
export const policySchema: z.ZodType<ApprovalPolicy> = z.strictObject({
  tiers: z
    .array(tierSchema)
    .min(1)
    .max(TIERS_MAX)
    .refine((tiers) => tiers.some(({ approvers }) => approvers.length > 0), 'no tier has an approver'),
  onExhausted: z.enum(['deny', 'queue']),
  strategy: z.enum(['first-wins']).exactOptional(),
  deadlineMs: waitSchema.exactOptional()
})
