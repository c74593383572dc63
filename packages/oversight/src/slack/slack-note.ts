import type { VoteAnswer } from '../oversight-calls.ts'
import { verdictTitle } from './slack-message.ts'

/** What somebody is told whose vote was not counted; undefined for one that was. */
export function noteOn(answer: VoteAnswer): string | undefined {
  switch (answer.outcome) {
    case 'recorded':
      return undefined
    case 'already-decided':
      return `You ${answer.decision === 'approve' ? 'approved' : 'denied'} this before, and that stands.`
    case 'too-late':
      return `Too late: ${verdictTitle(answer.verdict)}. Your vote was noted and does not count.`
    case 'superseded':
      return changed(answer.version)
    case 'not-authorized':
      return refusals[answer.because]
  }
}

export const changed = (version: number): string =>
  `This was changed after you were shown it, and version ${version} is asked now. Nothing was counted.`

const refusals: Readonly<Record<Extract<VoteAnswer, { readonly outcome: 'not-authorized' }>['because'], string>> = {
  'not-asked': 'You have not been asked about this. Nothing was counted.',
  'separation-of-duties': 'You asked for this yourself, or the agent acts for you: somebody else has to decide.',
  'not-known': 'The directory of approvers does not know you. Nothing was counted.'
}

export const NOT_MAPPED = 'Your Slack account belongs to no approver. Nothing was counted.'
export const NOT_THEIRS = 'This invitation is for somebody else. Nothing was counted.'
export const UNKNOWN = 'This request is not known any more. Nothing was counted.'
export const FAILED = 'Something went wrong, and your vote may not have been counted. Please try again.'
export const NO_FORM = 'The form did not open. Please try again.'
export const REASON_WANTED = 'Please say why.'
export const DECISION_WANTED = 'Please choose one.'
