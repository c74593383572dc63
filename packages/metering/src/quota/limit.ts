import { z } from 'zod'
import { IDENTIFIER_LENGTH_MAX } from '../event/identifier.ts'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { identifierSchema } from '../event/usage-event-schema.ts'
import { CHARGES_MAX, RESERVED_MAX } from './charge.ts'
import { hasWindows, type Period, periodSchema } from './period.ts'

/** How much one level of a tenant may consume in a period, and how much the levels below it. */
export interface LimitNode {
  /**
   * An integer in [0, 9e15]. Lowered below what is used, the rest is 0, never negative. A level without one only groups
   * those below it: it has no counter, and what they may consume together is not limited here. A call in whose path no
   * level has one is answered `unknown-limit`.
   */
  readonly quantity?: number
  /**
   * How the `children` get their part of the quantity. `pool`, unless given: whoever comes first; a child's quantity is
   * the most that it gets. `reserved`: a child's quantity is kept for it, and nobody else gets it, used or not; only of a
   * quantity, and only with periods that have windows (`lifetime`, `everyMs`, calendars).
   */
  readonly share?: 'pool' | 'reserved'
  /** The levels right below, by name: teams, agents. At most 64 where they are reserved. */
  readonly children?: Readonly<Record<string, LimitNode>>
  /** What every child that is not listed may consume, each for itself. Without it they have no quantity of their own. */
  readonly eachChild?: LimitNode
}

/** A rule: how much of something a tenant, and who is below it, may consume in a period. */
export interface Limit extends LimitNode {
  /** Such as `llm-tokens`: letters, digits and `._-`, at most 64; unique among the limits of one enforcer. */
  readonly name: string
  readonly period: Period
}

/** Levels of a limit, the tenant's own included: a call charges all of them, and cannot charge more. */
export const LEVELS_MAX = CHARGES_MAX

/** How `eachChild` shows in the path of a conflict; no child has this name. */
export const EACH_CHILD = '*'

const childNameSchema = identifierSchema.refine((name) => name !== EACH_CHILD, `a child is not named ${EACH_CHILD}`)

const quantity = z.number().int().min(0).max(QUANTITY_MAX).exactOptional()
const share = z.enum(['pool', 'reserved']).exactOptional()

function membersBelow(levels: number) {
  // A schema of finite depth: one that refers to itself would follow a limit that contains itself for ever.
  const none = z.undefined(`a limit has at most ${LEVELS_MAX} levels`).exactOptional()
  if (levels === 0) return { children: none, eachChild: none }
  const node: z.ZodType<LimitNode> = z
    .strictObject({ quantity, share, ...membersBelow(levels - 1) })
    .refine(...reservesFew)
    .refine(...reservesSome) as never
  return { children: z.record(childNameSchema, node).exactOptional(), eachChild: node.exactOptional() }
}

const reservesFew: [(node: object) => boolean, { path: string[]; message: string }] = [
  (node: object): boolean => {
    const { share, children = {} } = node as LimitNode
    return share !== 'reserved' || Object.keys(children).length <= RESERVED_MAX
  },
  { path: ['children'], message: `at most ${RESERVED_MAX} children have reserved parts` }
]

const reservesSome: [(node: object) => boolean, { path: string[]; message: string }] = [
  (node: object): boolean => {
    const { share, quantity: own } = node as LimitNode
    return share !== 'reserved' || own !== undefined
  },
  { path: ['share'], message: 'parts can be reserved only of a quantity' }
]

/** What a limit must be. Whether its levels contradict each other is `limitConflicts`' to say. */
export const limitSchema: z.ZodType<Limit> = z
  .strictObject({
    name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a name is at most 64 letters, digits and ._-'),
    quantity,
    period: periodSchema,
    share,
    ...membersBelow(LEVELS_MAX - 1)
  })
  .refine(...reservesFew)
  .refine(...reservesSome)
  .refine((limit) => limits(limit as LimitNode), {
    path: ['quantity'],
    message: 'no level of the limit has a quantity'
  })
  .refine((limit) => hasWindows(limit.period) || !reserves(limit as LimitNode), {
    path: ['share'],
    message: 'parts can be reserved only where the period is lifetime, everyMs or a calendar'
  }) as never

function limits({ quantity: own, children = {}, eachChild }: LimitNode): boolean {
  return own !== undefined || (eachChild !== undefined && limits(eachChild)) || Object.values(children).some(limits)
}

function reserves({ share: own, children = {}, eachChild }: LimitNode): boolean {
  return (
    own === 'reserved' || (eachChild !== undefined && reserves(eachChild)) || Object.values(children).some(reserves)
  )
}

/** Whose level of a tenant: names from the top, such as `['team-a', 'agent-7']`; none is the tenant's own. */
export const pathSchema: z.ZodType<readonly string[]> = z.array(childNameSchema).max(LEVELS_MAX - 1)

/** Characters of a path's names together: a counter's key in a store holds them all. */
export const PATH_LENGTH_MAX = 4 * IDENTIFIER_LENGTH_MAX
