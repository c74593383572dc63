import type { Requester } from '@enablement/core'
import { mayBeSamePrincipal } from '../directory/identity.ts'
import type { Tier } from './policy.ts'

/**
 * The people of a tier who may decide on this request: not the agent that asks, nor the human behind it. A policy that
 * names them may be shared by many requesters, so this is judged for each request.
 */
export function eligibleApprovers(tier: Tier, { requestedBy }: { readonly requestedBy: Requester }): readonly string[] {
  const { agent, onBehalfOf } = requestedBy
  const asks = (approver: string): boolean =>
    mayBeSamePrincipal(approver, agent) || (onBehalfOf !== undefined && mayBeSamePrincipal(approver, onBehalfOf))
  return tier.approvers.filter((approver) => !asks(approver))
}
