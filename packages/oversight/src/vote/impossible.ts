import { type Issue, parseOptions } from '@enablement/core'
import type { Seat } from '../directory/seat.ts'
import { type Elector, electorateOf } from './electorate.ts'
import { type QuorumThreshold, type VoteStrategy, voteStrategySchema } from './vote-strategy.ts'

/** What no votes could ever bring about. */
export interface Impossibility {
  /** Nothing could ever be approved. */
  readonly never: boolean
  /** Why, and which alternatives of a quorum are out of reach: the path is one inside the strategy. */
  readonly issues: readonly Issue[]
}

/**
 * Whether the people of these tiers, all of them asked and all in favour, could approve. For policies whose people and
 * roles are known when they are written, and for a chain that is asked to its end. Throws `INVALID_OPTIONS` (core) with
 * the path of every fault of the strategy itself.
 */
export function impossible(strategy: VoteStrategy, tiers: readonly (readonly Seat[])[]): Impossibility {
  const rule = parseOptions(voteStrategySchema, 'impossible', strategy)
  const { people } = electorateOf(tiers, [], undefined)
  if (people.length === 0) return { never: true, issues: [{ path: '', message: 'nobody is asked' }] }
  if (typeof rule === 'string' || rule.kind !== 'quorum') return { never: false, issues: [] }
  const issues = rule.anyOf.map((thresholds, alternative) =>
    thresholds.flatMap((threshold, at) => outOfReach(threshold, people, `anyOf.${alternative}.${at}`))
  )
  return { never: issues.every((some) => some.length > 0), issues: issues.flat() }
}

function outOfReach({ role, approve }: QuorumThreshold, people: readonly Elector[], path: string): readonly Issue[] {
  const able = role === undefined ? people : people.filter(({ askedAs }) => askedAs.has(role))
  if (able.length >= approve) return []
  if (able.length === 0) return [{ path: `${path}.role`, message: 'nobody who is asked has this role' }]
  return [{ path: `${path}.approve`, message: `asks for ${approve} approvals of ${able.length} who could give one` }]
}
