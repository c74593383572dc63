import { z } from 'zod'
import { identitySchema } from '../directory/identity.ts'

/**
 * How several votes make one verdict. Which of these give the same verdict whatever the order of the votes is said at
 * each; `first-wins` is the one whose point is the order.
 */
export type VoteStrategy =
  /** The first vote that is committed. */
  | 'first-wins'
  /** One approval approves. Denied once everybody has denied and nobody further may be asked. In any order. */
  | 'any-approve'
  /**
   * One denial denies. Approved once everybody who was asked has approved, or, when the chain ends, everybody of one
   * tier and nobody has denied. Who is silent is waited for until then. In any order.
   */
  | 'all-approve'
  | AllApprove
  | HighestAuthority
  | Quorum

/** `all-approve` that does not wait for people of other tiers for as long as the chain lasts. */
export interface AllApprove {
  readonly kind: 'all-approve'
  /**
   * How long the approval of a whole tier waits for a denial from another: 0 for not at all, so that the order of
   * commits decides. In any order for votes cast within this time.
   */
  readonly objectionMs: number
}

/** The vote of whoever weighs most; at equal weight a denial outranks approvals. */
export interface HighestAuthority {
  readonly kind: 'highest-authority'
  /**
   * How long after the first vote the people at the top are waited for. They decide as soon as they have all voted or
   * one of them has denied; at the end of this time whoever weighs most among those who did vote. Votes at or after the
   * end count nothing. In any order for the votes before it.
   */
  readonly settleMs: number
}

/** Approved as soon as one of the alternatives is met: an OR of ANDs. */
export interface Quorum {
  readonly kind: 'quorum'
  /** Each alternative is a list of thresholds that must all be met. */
  readonly anyOf: readonly (readonly QuorumThreshold[])[]
  /**
   * How long a quorum that is met waits for a denial that could still undo it. Needed where a threshold has `deny`, and
   * useless elsewhere: without such thresholds a met quorum cannot be undone, and the order of votes is of no account.
   * 0 lets the order of commits decide; otherwise the order is of no account among votes cast within this time.
   */
  readonly objectionMs?: number
}

/** So many approvals of people with a role. A person counts once, and for every threshold whose role they have. */
export interface QuorumThreshold {
  /** Anybody who was asked counts unless given. Compared exactly. */
  readonly role?: string
  /** How many people must approve. */
  readonly approve: number
  /** How many denials rule the alternative out. As many as make the approvals impossible, unless given. */
  readonly deny?: number
}

/** Beyond these a quorum is something that nobody can explain to the people who wait for it. */
const ALTERNATIVES_MAX = 8
const THRESHOLDS_MAX = 8
const PEOPLE_MAX = 100

/** 30 days: a window that outlasts most chains is a unit mistaken for another. */
const WINDOW_MAX_MS = 30 * 86_400_000

const windowSchema = z.int().max(WINDOW_MAX_MS)

const thresholdSchema: z.ZodType<QuorumThreshold> = z.strictObject({
  role: identitySchema.exactOptional(),
  approve: z.int().min(1).max(PEOPLE_MAX),
  deny: z.int().min(1).max(PEOPLE_MAX).exactOptional()
})

const alternativeSchema = z
  .array(thresholdSchema)
  .min(1)
  .max(THRESHOLDS_MAX)
  .check(({ value, issues }) => {
    for (const [at, { role }] of value.entries()) {
      if (value.findIndex((other) => other.role === role) === at) continue
      issues.push({ code: 'custom', input: role, path: [at, 'role'], message: 'has a threshold before' })
    }
  })

const quorumSchema = z
  .strictObject({
    kind: z.literal('quorum'),
    anyOf: z.array(alternativeSchema).min(1).max(ALTERNATIVES_MAX),
    objectionMs: windowSchema.min(0).exactOptional()
  })
  .check(({ value, issues }) => {
    const needed = value.anyOf.some((thresholds) => thresholds.some(({ deny }) => deny !== undefined))
    if (needed === (value.objectionMs !== undefined)) return
    const message = needed
      ? 'is needed where a threshold has deny; 0 lets the order of the votes decide'
      : 'has no effect where no threshold has deny'
    issues.push({ code: 'custom', input: value.objectionMs, path: ['objectionMs'], message })
  })

const ruleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('all-approve'), objectionMs: windowSchema.min(0) }),
  // Without a window this would be first-wins under another name.
  z.strictObject({ kind: z.literal('highest-authority'), settleMs: windowSchema.min(1) }),
  quorumSchema
])

const nameSchema = z.enum(['first-wins', 'any-approve', 'all-approve'])

/** What a strategy must be. A union of both schemas would lose the paths of what is wrong inside a rule. */
export const voteStrategySchema: z.ZodType<VoteStrategy> = z.unknown().transform((input, context) => {
  const schema: z.ZodType<VoteStrategy> = typeof input === 'string' ? nameSchema : ruleSchema
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, code: 'custom', input })
  return z.NEVER
})
