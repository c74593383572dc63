import type { Clock } from '@enablement/core'
import type { ApproverDirectory } from '../directory/approver-directory.ts'
import { findApprover } from '../directory/asked-directory.ts'
import type { Voter } from './cast.ts'

/**
 * Who votes, as the directory knows them now; `unknown` for nobody. Throws `DIRECTORY_UNAVAILABLE`: a vote whose weight is
 * not known is not counted.
 */
export async function findVoter(
  directory: ApproverDirectory,
  tenant: string,
  approver: string,
  clock: Clock
): Promise<Voter | 'unknown'> {
  const found = await findApprover(directory, approver, { tenant, clock })
  if (found === undefined) return 'unknown'
  const { principal = found.id, roles = [], authority = 0 } = found
  return { principal, roles, authority }
}
