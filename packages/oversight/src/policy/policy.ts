import { z } from 'zod'
import type { ApproverRef } from '../directory/approver-ref.ts'
import { identitySchema } from '../directory/identity.ts'
import { type VoteStrategy, voteStrategySchema } from '../vote/vote-strategy.ts'
import { type AutoApproval, autoApprovalSchema } from './auto-approval.ts'
import { type OnTimeout, onTimeoutSchema } from './on-timeout.ts'

/** A group of people who are asked together, and how long they have before the next group is asked. */
export interface Tier {
  /** Those who may decide from the moment the tier is asked. Nobody: the tier is skipped at once. */
  readonly approvers: readonly ApproverRef[]
  /**
   * How each of them is invited, by the names of channels, on every entry at once. An entry with several names is tried in
   * that order: the next one when the one before cannot reach this person.
   */
  readonly channels: readonly (string | readonly string[])[]
  /** How long until the next tier is asked, whether the people of this one were reached and are silent or were not. */
  readonly waitMs: number
  /** How often those who were reached and have not voted are reminded. Never unless given. */
  readonly remindEveryMs?: number
  /** When every invitation of the tier is known to have failed, ask the next one at once instead of after `waitMs`. */
  readonly skipIfUnreachable?: boolean
}

/** Who is asked about an action, in which order, and what happens when nobody decides. */
export interface ApprovalPolicy {
  readonly tiers: readonly Tier[]
  /**
   * What happens when the last tier's wait has passed: `deny` settles the request as denied by `system:escalation`, with an
   * explanation; `queue` clears the deadline and holds it until someone who was asked decides after all; `alert-ops` tells
   * `alertOps` first, then queues it; `{ autoApprove }` approves without anyone, under the conditions it states.
   */
  readonly onExhausted: 'deny' | 'queue' | 'alert-ops' | { readonly autoApprove: AutoApproval }
  /** How several votes make a verdict. `first-wins`, also the default: the first vote that the store commits. */
  readonly strategy?: VoteStrategy
  /**
   * After how long, counted from its opening, an undecided request runs out, wherever the chain has got to. A vote at that
   * very millisecond is too late. None unless given: the chain's own waits end it.
   */
  readonly deadlineMs?: number
  /** What happens at the deadline, unless the request or its agent brings its own word: `resume` unless given. */
  readonly onTimeout?: OnTimeout
  /** How long after the verdict an approval may be used; a claim at that very millisecond is too late. For ever unless given. */
  readonly approvalTtlMs?: number
  /** Whether standing grants may approve in place of people: `refused` unless given. */
  readonly standingGrants?: 'accepted' | 'refused'
  /**
   * What happens to a request for the same thing by the same agent while another one is open: `coalesce`, the default, gives
   * both the same request, so that people are asked once and it is done once; `separate` asks for each.
   */
  readonly identical?: 'coalesce' | 'separate'
}

/** A year: beyond it a wait is a unit mistaken for another, such as seconds given in microseconds. */
const WAIT_MAX_MS = 366 * 86_400_000
/** Reminders more often than this are noise that people learn to ignore. */
const REMIND_MIN_MS = 1_000

/** Tiers, people and channels of a policy. A request may have their product in invitations, all written in one unit. */
const TIERS_MAX = 16
const APPROVERS_MAX = 50
const CHANNELS_MAX = 8

const waitSchema = z.int().min(1).max(WAIT_MAX_MS)

const approverRefSchema: z.ZodType<ApproverRef> = z.union([
  identitySchema,
  z.strictObject({ group: identitySchema }),
  z.strictObject({ onCall: identitySchema })
])

const tierSchema: z.ZodType<Tier> = z
  .strictObject({
    approvers: z.array(approverRefSchema).max(APPROVERS_MAX),
    channels: z.array(z.union([identitySchema, z.array(identitySchema).min(1).max(CHANNELS_MAX)])).max(CHANNELS_MAX),
    waitMs: waitSchema,
    remindEveryMs: z.int().min(REMIND_MIN_MS).max(WAIT_MAX_MS).exactOptional(),
    skipIfUnreachable: z.boolean().exactOptional()
  })
  .check(({ value, issues }) => {
    const refuse = (path: PropertyKey[], input: unknown, message: string): void => {
      issues.push({ code: 'custom', input, path, message })
    }
    const named = new Set<string>()
    for (const [at, ref] of value.approvers.entries()) {
      const key = JSON.stringify(ref)
      if (named.has(key)) refuse(['approvers', at], ref, 'is named twice')
      named.add(key)
    }
    const used = new Set<string>()
    for (const [at, entry] of value.channels.entries()) {
      for (const name of channelsIn(entry)) {
        if (used.has(name)) refuse(['channels', at], name, 'is named twice')
        used.add(name)
      }
    }
    if (value.approvers.length > 0 && value.channels.length === 0) {
      refuse(['channels'], value, 'leaves no way to invite anyone')
    }
  })

/** What a policy must be; a chain in which nobody could ever decide is refused. */
export const policySchema: z.ZodType<ApprovalPolicy> = z.strictObject({
  tiers: z
    .array(tierSchema)
    .min(1)
    .max(TIERS_MAX)
    .refine((tiers) => tiers.some(({ approvers }) => approvers.length > 0), 'no tier has an approver'),
  onExhausted: z.union([z.enum(['deny', 'queue', 'alert-ops']), z.strictObject({ autoApprove: autoApprovalSchema })]),
  strategy: voteStrategySchema.exactOptional(),
  deadlineMs: waitSchema.exactOptional(),
  onTimeout: onTimeoutSchema.exactOptional(),
  approvalTtlMs: waitSchema.exactOptional(),
  standingGrants: z.enum(['accepted', 'refused']).exactOptional(),
  identical: z.enum(['coalesce', 'separate']).exactOptional()
})

/** The channels of an entry, in the order in which they are tried. */
export function channelsIn(entry: string | readonly string[]): readonly string[] {
  return typeof entry === 'string' ? [entry] : entry
}
