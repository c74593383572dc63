import type { CountedPoll, Tally, TallyReason } from '../count.ts'
import type { Elector, Electorate } from '../electorate.ts'
import type { Vote } from '../vote-record.ts'

/** Where a count stands once one more vote was heard. */
export interface Standing {
  /** `contestable`: approved, unless somebody who was asked and is silent so far denies. */
  readonly standing: 'open' | 'contestable' | 'approve' | 'deny'
  readonly because: TallyReason
}

/**
 * Hears the votes one after the other. A contestable approval waits `objectionMs`, from the vote that brought it about,
 * for votes that undo it; one cast at the end of that time or later changes nothing. A denial ends the hearing at once,
 * and so does an approval that nobody can undo. Thus among votes cast within `objectionMs` a denial outranks approvals
 * wherever it stands. Without anybody's denial nothing is denied.
 */
export function hear(
  { heard }: Electorate,
  objectionMs: number,
  { now, exhausted }: CountedPoll,
  next: (elector: Elector & { readonly vote: Vote }) => Standing
): Tally {
  let pending: { readonly by: Vote; readonly because: TallyReason } | undefined
  let denial: Vote | undefined
  for (const elector of heard) {
    const { vote } = elector
    if (pending !== undefined && vote.votedAt >= pending.by.votedAt + objectionMs) return approved(pending)
    if (vote.decision === 'deny') denial = vote
    const { standing, because } = next(elector)
    if (standing === 'deny' && denial !== undefined) return { outcome: 'deny', by: denial, because }
    if (standing === 'approve') return approved({ by: vote, because })
    if (standing === 'contestable') pending ??= { by: vote, because }
    else pending = undefined
  }
  if (pending === undefined) return { outcome: 'open' }
  const settleAt = pending.by.votedAt + objectionMs
  if (exhausted || now >= settleAt) return approved(pending)
  return settleAt === Number.POSITIVE_INFINITY ? { outcome: 'open' } : { outcome: 'open', settleAt }
}

const approved = (decided: { readonly by: Vote; readonly because: TallyReason }): Tally => ({
  outcome: 'approve',
  ...decided
})
