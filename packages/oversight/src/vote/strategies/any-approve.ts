import type { Count } from '../count.ts'

/** One approval approves; it is denied only when no approver remains. */
export const anyApprove: Count = ({ people, heard }, { allAsked }) => {
  const approval = heard.find(({ vote }) => vote.decision === 'approve')
  if (approval !== undefined) return { outcome: 'approve', by: approval.vote, because: 'one-approved' }
  const last = heard.at(-1)
  if (last === undefined || !allAsked || heard.length < people.length) return { outcome: 'open' }
  return { outcome: 'deny', by: last.vote, because: 'all-denied' }
}
