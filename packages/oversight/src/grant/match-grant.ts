import { RISKS } from '../policy/risk.ts'
import { patternsOf } from './action-pattern.ts'
import { brokenRules, type GrantObstacle, obstaclesTo } from './grant-obstacle.ts'
import type { GrantAsk, GrantRecord } from './grant-record.ts'

/** A grant for the same action in the same tenant that does not hold, and all that is in its way. */
export interface NearMiss {
  readonly grantId: string
  readonly because: readonly GrantObstacle[]
  /** Of the rules about the detail that are not met. */
  readonly paths: readonly string[]
}

/** Which grant covers what is asked. */
export type GrantMatch =
  | { readonly outcome: 'matched'; readonly grant: GrantRecord }
  /** The nearest first, 10 at most. */
  | { readonly outcome: 'unmatched'; readonly nearMisses: readonly NearMiss[] }

/** More than anybody reads. */
const NEAR_MISSES_MAX = 10

/**
 * Finds the grant to use. Of several that hold the narrowest is used, so that a broad one is not spent on what a narrow
 * one was issued for: by its action (a name before a pattern, a longer pattern before a shorter one), then one with a
 * task, with an agent, with a policy version, with more rules about the detail, with less risk; then the oldest, then
 * the one whose id sorts first. The order in which they are given is of no account.
 */
export function matchGrant(grants: readonly GrantRecord[], ask: GrantAsk, now: number): GrantMatch {
  const patterns = patternsOf(ask.action)
  const candidates = grants
    .filter(({ tenant, action }) => tenant === ask.tenant && patterns.includes(action))
    .toSorted(narrowestFirst)
    .map((grant) => ({ grant, because: obstaclesTo(grant, ask, now) }))
  const match = candidates.find(({ because }) => because.length === 0)
  if (match !== undefined) return { outcome: 'matched', grant: match.grant }
  const nearMisses = candidates
    .toSorted((one, other) => one.because.length - other.because.length)
    .slice(0, NEAR_MISSES_MAX)
    .map(({ grant, because }) => ({ grantId: grant.id, because, paths: brokenRules(grant, ask) }))
  return { outcome: 'unmatched', nearMisses }
}

/** Of grants that all cover one action, so that a longer pattern is a narrower one. */
function narrowestFirst(one: GrantRecord, other: GrantRecord): number {
  const theirs = narrowness(other)
  for (const [at, mine] of narrowness(one).entries()) {
    if (mine !== theirs[at]) return mine > (theirs[at] as number) ? -1 : 1
  }
  return one.issuedAt - other.issuedAt || (one.id < other.id ? -1 : 1)
}

const narrowness = ({ action, task, agent, policyVersion, detail, riskMax }: GrantRecord): readonly number[] => [
  action.endsWith('.*') ? action.length : Number.POSITIVE_INFINITY,
  Number(task !== undefined),
  Number(agent !== undefined),
  Number(policyVersion !== undefined),
  detail.length,
  -RISKS.indexOf(riskMax)
]
