import type { VoteAnswer } from '../oversight-calls.ts'
import { type Html, html } from '../page/html.ts'
import { verdictText } from './request-facts.ts'

/** What a person is told of what came of what they did. */
export interface Notice {
  readonly tone: 'good' | 'bad'
  readonly title: string
  readonly text: Html
}

type Because = Extract<VoteAnswer, { readonly outcome: 'not-authorized' }>['because']

const refusals: Readonly<Record<Because, string>> = {
  'not-asked': 'You have not been asked about this request.',
  'separation-of-duties': 'The agent acts for you, or you asked for it yourself: somebody else must decide.',
  'not-known': 'The directory of approvers does not know you.'
}

export const notAuthorized = (because: Because): Notice => ({
  tone: 'bad',
  title: 'Not counted',
  text: html`${refusals[because]}`
})

const superseded = (version: number): Notice => ({
  tone: 'bad',
  title: 'Not counted: it was changed while you read it',
  text: html`What is asked now is version ${version}. Please review it, and decide on what you see.`
})

/** What became of a vote; `now` by the clock of the page. */
export function voteNotice(answer: VoteAnswer, now: number): Notice {
  switch (answer.outcome) {
    case 'recorded':
      return answer.verdict === undefined
        ? { tone: 'good', title: 'Your vote is on record', text: html`Others are still asked.` }
        : { tone: 'good', title: 'Your vote is on record', text: verdictText(answer.verdict, now) }
    case 'already-decided':
      return {
        tone: 'bad',
        title: 'You have decided before',
        text: html`You ${answer.decision === 'approve' ? 'approved' : 'denied'} it, and that stands. ${
          answer.verdict === undefined ? 'Others are still asked.' : verdictText(answer.verdict, now)
        }`
      }
    case 'too-late':
      return {
        tone: 'bad',
        title: 'Too late',
        text: html`${verdictText(answer.verdict, now)} Your vote was noted and does not count.`
      }
    case 'not-authorized':
      return notAuthorized(answer.because)
    case 'superseded':
      return superseded(answer.version)
  }
}

export const noticeView = ({ tone, title, text }: Notice): Html =>
  html`<div class="notice ${tone}" role="${tone === 'bad' ? 'alert' : 'status'}" id="notice" tabindex="-1" autofocus><h2>${title}</h2><p>${text}</p></div>`
