import { QUANTITY_MAX } from '../event/usage-event.ts'
import { MeteringError } from '../metering-error.ts'
import { EACH_CHILD, type Limit, type LimitNode } from './limit.ts'

/** Two levels of a limit that cannot both be kept. */
export type LimitConflict =
  /** The parts that a level reserves for its children are more than it has. */
  | {
      readonly conflict: 'reserved-above-parent'
      readonly limit: string
      /** The level's: names from the top, `*` for the children that are not listed; none is the tenant's own. */
      readonly path: readonly string[]
      readonly quantity: number
      /** What is reserved in all; beyond 2^53 the nearest double. */
      readonly reserved: number
    }
  /** A child may consume more than all of its parent, or of the nearest level above it that has a quantity. */
  | {
      readonly conflict: 'child-above-parent'
      readonly limit: string
      /** The child's. */
      readonly path: readonly string[]
      readonly quantity: number
      readonly parentQuantity: number
    }

/**
 * All conflicts within a limit, at any depth, from the top downwards. In a pool the children together may be given more
 * than there is: that is what sharing means.
 */
export function limitConflicts(limit: Limit): readonly LimitConflict[] {
  const found: LimitConflict[] = []
  const visit = (node: LimitNode, path: readonly string[], above: number): void => {
    const { quantity = above, share = 'pool', children = {}, eachChild } = node
    const listed = Object.entries(children)
    const below = eachChild === undefined ? listed : [...listed, [EACH_CHILD, eachChild] as const]
    if (share === 'reserved') {
      const reserved = listed.reduce((sum, [, child]) => sum + BigInt(child.quantity ?? 0), 0n)
      if (reserved > BigInt(quantity)) {
        const conflict = 'reserved-above-parent'
        found.push({ conflict, limit: limit.name, path, quantity, reserved: Number(reserved) })
      }
    }
    for (const [name, child] of below) {
      if (child.quantity === undefined || child.quantity <= quantity) continue
      const at = { limit: limit.name, path: [...path, name] }
      found.push({ conflict: 'child-above-parent', ...at, quantity: child.quantity, parentQuantity: quantity })
    }
    for (const [name, child] of below) visit(child, [...path, name], quantity)
  }
  visit(limit, [], QUANTITY_MAX)
  return found
}

/** Conflicts that a message lists; the rest are in the error's detail. */
const LISTED_MAX = 5

/** Throws `LIMIT_CONFLICT` when there are any. */
export function refuseConflicts(limits: readonly Limit[]): void {
  const conflicts = limits.flatMap(limitConflicts)
  if (conflicts.length === 0) return
  const told = conflicts.slice(0, LISTED_MAX).map(conflictText)
  if (conflicts.length > LISTED_MAX) told.push(`and ${conflicts.length - LISTED_MAX} more`)
  throw new MeteringError('LIMIT_CONFLICT', `levels of limits contradict each other: ${told.join('; ')}`, { conflicts })
}

function conflictText(conflict: LimitConflict): string {
  const { limit, path, quantity } = conflict
  const level = path.length === 0 ? limit : `${limit} of ${path.join(' / ')}`
  return conflict.conflict === 'reserved-above-parent'
    ? `${level} reserves ${conflict.reserved} of ${quantity}`
    : `${level} is ${quantity}, and ${conflict.parentQuantity} above it`
}
