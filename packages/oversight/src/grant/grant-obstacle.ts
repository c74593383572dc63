import { mayBeSamePrincipal } from '../directory/identity.ts'
import { isAtLeast } from '../policy/risk.ts'
import { patternsOf } from './action-pattern.ts'
import { meets } from './detail-rule.ts'
import type { GrantAsk, GrantRecord } from './grant-record.ts'

/** Why a grant does not hold. */
export type GrantObstacle =
  | 'other-tenant'
  | 'other-action'
  | 'other-agent'
  | 'other-task'
  | 'other-policy-version'
  | 'detail'
  | 'risk'
  /** Whoever issued it is who asks, or the human behind. */
  | 'separation-of-duties'
  /** The clock that dates it was set back. */
  | 'not-yet'
  | 'expired'
  | 'revoked'
  | 'used-up'

/** All that stands between a grant and its use now; empty when it holds. Names compare exactly. */
export function obstaclesTo(grant: GrantRecord, ask: GrantAsk, now: number): readonly GrantObstacle[] {
  const { agent, task, policyVersion } = grant
  const found: readonly (readonly [boolean, GrantObstacle])[] = [
    [grant.tenant !== ask.tenant, 'other-tenant'],
    [!patternsOf(ask.action).includes(grant.action), 'other-action'],
    [agent !== undefined && agent !== ask.requestedBy.agent, 'other-agent'],
    [task !== undefined && task !== ask.task, 'other-task'],
    [policyVersion !== undefined && policyVersion !== ask.policyVersion, 'other-policy-version'],
    [brokenRules(grant, ask).length > 0, 'detail'],
    [ask.risk !== grant.riskMax && isAtLeast(ask.risk, grant.riskMax), 'risk'],
    [isOneOf([grant.issuedBy, grant.issuerPrincipal], requestersOf(ask)), 'separation-of-duties'],
    [now < grant.issuedAt, 'not-yet'],
    [now >= grant.expiresAt, 'expired'],
    [grant.revokedAt !== undefined, 'revoked'],
    [grant.used >= grant.usesMax, 'used-up']
  ]
  return found.filter(([stands]) => stands).map(([, obstacle]) => obstacle)
}

/** Paths of the rules that the detail does not meet. Never its values: they are shown to whoever asks why. */
export function brokenRules({ detail }: GrantRecord, ask: GrantAsk): readonly string[] {
  return detail.filter((rule) => !meets(ask.detail, rule)).map(({ path }) => path)
}

/** Whether any of these may be any of those. Errs towards yes, because a yes forbids. */
export function isOneOf(names: readonly string[], others: readonly string[]): boolean {
  return names.some((name) => others.some((other) => mayBeSamePrincipal(name, other)))
}

function requestersOf({ requestedBy: { agent, onBehalfOf }, principals = [] }: GrantAsk): readonly string[] {
  return [agent, ...(onBehalfOf === undefined ? [] : [onBehalfOf]), ...principals]
}
