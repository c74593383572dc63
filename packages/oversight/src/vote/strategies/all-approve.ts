import type { Count } from '../count.ts'
import type { Elector } from '../electorate.ts'
import { hear } from './objections.ts'

/**
 * One denial denies, whoever of those who were asked it comes from. A tier all of which has approved approves, after
 * `objectionMs` in which the others of those asked may deny; at once when there are none.
 */
export function allApprove(objectionMs: number): Count {
  return (electorate, poll) => {
    const silent = new Set<Elector>(electorate.people)
    return hear(electorate, objectionMs, poll, (elector) => {
      silent.delete(elector)
      if (elector.vote.decision === 'deny') return { standing: 'deny', because: 'one-denied' }
      if (silent.size === 0) return { standing: 'approve', because: 'all-approved' }
      const whole = electorate.tiers.some((people) => people.every((one) => !silent.has(one)))
      return { standing: whole ? 'contestable' : 'open', because: 'tier-approved' }
    })
  }
}
