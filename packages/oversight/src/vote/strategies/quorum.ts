import type { Count } from '../count.ts'
import type { Elector } from '../electorate.ts'
import type { Vote } from '../vote-record.ts'
import type { Quorum, QuorumThreshold } from '../vote-strategy.ts'
import { hear } from './objections.ts'

/** A threshold with the people who count for it: who have said something, and how many may still. */
interface Progress extends QuorumThreshold {
  approvals: number
  denials: number
  silent: number
}

/**
 * Met as soon as all thresholds of one alternative are. An alternative is ruled out by as many denials as one of its
 * thresholds says, or, once everybody was asked, by too few who could still approve. Denied when all are ruled out.
 */
export function quorum({ anyOf, objectionMs = 0 }: Quorum): Count {
  return (electorate, poll) => {
    const alternatives = anyOf.map((thresholds) =>
      thresholds.map((threshold): Progress => {
        const silent = electorate.people.filter(({ askedAs }) => isAmong(askedAs, threshold)).length
        return { ...threshold, approvals: 0, denials: 0, silent }
      })
    )
    return hear(electorate, objectionMs, poll, (elector) => {
      for (const progress of alternatives.flat()) note(progress, elector)
      const inReach = alternatives.filter((thresholds) => !thresholds.some(isDenied))
      if (inReach.length === 0) return { standing: 'deny', because: 'quorum-denied' }
      const met = inReach.filter((thresholds) => thresholds.every(isMet))
      if (met.length > 0) {
        const isSafe = met.some((thresholds) => thresholds.every(isBeyondDenial))
        return { standing: isSafe ? 'approve' : 'contestable', because: 'quorum-met' }
      }
      const isPossible = !poll.allAsked || inReach.some((thresholds) => thresholds.every(isInReach))
      return { standing: isPossible ? 'open' : 'deny', because: 'quorum-out-of-reach' }
    })
  }
}

function note(progress: Progress, { askedAs, roles, vote }: Elector & { readonly vote: Vote }): void {
  if (isAmong(askedAs, progress)) progress.silent -= 1
  if (!isAmong(roles, progress)) return
  if (vote.decision === 'approve') progress.approvals += 1
  else progress.denials += 1
}

const isAmong = (roles: ReadonlySet<string>, { role }: QuorumThreshold): boolean =>
  role === undefined || roles.has(role)

const isMet = ({ approve, approvals }: Progress): boolean => approvals >= approve
const isInReach = ({ approve, approvals, silent }: Progress): boolean => approvals + silent >= approve
const isDenied = ({ deny, denials }: Progress): boolean => deny !== undefined && denials >= deny
const isBeyondDenial = ({ deny, denials, silent }: Progress): boolean => deny === undefined || denials + silent < deny
