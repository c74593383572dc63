import type { Charge, ReservedPart } from './charge.ts'
import type { Limit, LimitNode } from './limit.ts'
import { type PeriodRule, periodRule } from './period.ts'

/** A limit that was checked, ready to be charged. */
export interface CompiledLimit {
  readonly limit: Limit
  readonly period: PeriodRule
}

export function compileLimit(limit: Limit): CompiledLimit {
  return { limit, period: periodRule(limit.period) }
}

/** A level of a path that has a quantity. */
interface Level {
  readonly depth: number
  readonly node: LimitNode
  readonly quantity: number
}

/** The levels of `path` that have one, from the top. Below a child that is not listed, without `eachChild`, there are none. */
function levelsOf(limit: Limit, path: readonly string[]): readonly Level[] {
  const levels: Level[] = []
  let node: LimitNode | undefined = limit
  for (let depth = 0; node !== undefined; depth++) {
    const { quantity, children = {}, eachChild }: LimitNode = node
    if (quantity !== undefined) levels.push({ depth, node, quantity })
    const name = path[depth]
    if (name === undefined) break
    node = Object.hasOwn(children, name) ? children[name] : eachChild
  }
  return levels
}

/** What `node` keeps for its listed children, but for the one that the call belongs to. */
function reservedParts({ share, children = {} }: LimitNode, path: readonly string[], depth: number): ReservedPart[] {
  if (share !== 'reserved') return []
  return Object.entries(children)
    .map(([name, { quantity = 0 }]) => ({ path: [...path.slice(0, depth), name], quantity }))
    .filter((part) => part.path[depth] !== path[depth] && part.quantity > 0)
}

/** The counters that a call at `path` draws on, from the innermost level outwards, each level's in the order of `limits`. */
export function chargesOf(limits: readonly CompiledLimit[], path: readonly string[], now: number): readonly Charge[] {
  const charges = limits.flatMap(({ limit, period }) => {
    const { rule } = period.at(now)
    return levelsOf(limit, path).map(({ depth, node, quantity }) => ({
      limit: limit.name,
      path: path.slice(0, depth),
      quantity,
      rule,
      reserved: reservedParts(node, path, depth)
    }))
  })
  // The sort is stable, so limits stay in their order within a level.
  return charges.sort((a, b) => b.path.length - a.path.length)
}
