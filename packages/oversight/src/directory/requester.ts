import type { Requester } from '@enablement/core'
import type { ApproverDirectory } from './approver-directory.ts'
import { askedDirectory } from './asked-directory.ts'
import { principalKey } from './identity.ts'
import type { Seat } from './seat.ts'

/**
 * Who is really behind a request: the principals of the agent and of the human in whose name it acts, where the directory
 * knows them, such as the owner of a service account. Throws `DIRECTORY_UNAVAILABLE`.
 */
export async function principalsBehind(
  { agent, onBehalfOf }: Requester,
  directory: ApproverDirectory | undefined,
  options: { readonly tenant: string; readonly signal: AbortSignal }
): Promise<readonly string[]> {
  if (directory === undefined) return []
  const asked = askedDirectory(directory, options)
  const ids = onBehalfOf === undefined ? [agent] : [agent, onBehalfOf]
  const found = await Promise.all(ids.map((id) => asked.find(id)))
  return [...new Set(found.flatMap((approver) => (approver === undefined ? [] : [approver.principal ?? approver.id])))]
}

/**
 * Those who may decide about a request: nobody who is behind it, under whatever id, and nobody who stands in for someone
 * behind it. `principals` are what `principalsBehind` found.
 */
export function eligible(
  seats: readonly Seat[],
  { agent, onBehalfOf = agent }: Requester,
  principals: readonly string[]
): readonly Seat[] {
  const behind = new Set([agent, onBehalfOf, ...principals].map(principalKey))
  return seats.filter(({ approver, principal, via }) => {
    const names = [approver, principal]
    if (via.kind === 'delegate-of') names.push(via.of, via.principal ?? via.of)
    return !names.some((name) => behind.has(principalKey(name)))
  })
}
