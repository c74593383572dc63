import type { Verdict } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import type { VoteAnswer } from '../oversight-calls.ts'
import { type Html, html, safeHtml } from '../page/html.ts'
import { isAtLeast } from '../policy/risk.ts'
import type { RequestView } from '../request/request-view.ts'
import type { LinkVerb } from './link-token.ts'

/** A page with its HTTP status. */
export interface LinkPage {
  readonly status: number
  readonly title: string
  readonly main: Html
}

/** What a person filled in, to show it again. */
export interface FilledForm {
  readonly decision: 'approve' | 'deny' | undefined
  readonly reason: string
  readonly word: string
}

/** A reason goes on record: some paragraphs. In UTF-16 code units, as browsers count `maxlength`. */
export const REASON_LENGTH_MAX = 1_000

/** What is typed to approve what can do much harm: a machine that fills in forms does not read. */
export const APPROVAL_WORD = 'approve'

const STYLE =
  ':root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:42rem;padding:1rem}' +
  'h1{font-size:1.4rem;overflow-wrap:anywhere}dt{font-weight:600}dd{margin:0 0 .5rem;overflow-wrap:anywhere}' +
  'pre{border:1px solid;padding:.75rem;white-space:pre-wrap;overflow-wrap:anywhere}fieldset{margin:1rem 0}' +
  'label{display:block;padding:.5rem 0}textarea,input[name=word]{box-sizing:border-box;font:inherit;padding:.5rem;width:100%}' +
  'input[type=radio]{height:1.25rem;vertical-align:middle;width:1.25rem}button{font:inherit;margin-top:1rem;padding:.75rem 1.5rem}' +
  '.problem{border-inline-start:.3rem solid #b3261e;padding-inline-start:.75rem}'

/** Of all answers. Nothing is loaded, framed, stored or told to other sites; forms go here alone. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    `default-src 'none'; style-src 'sha256-${btoa(String.fromCharCode(...sha256(new TextEncoder().encode(STYLE))))}'; ` +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-robots-tag': 'noindex, nofollow, noarchive',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin'
}

export function documentOf({ title, main }: LinkPage): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${safeHtml(STYLE)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${main}
</main>
</body>
</html>
`.toString()
}

/** A page that says something, and nothing about any request. */
export function noticePage(
  status: number,
  title: string,
  text: string,
  link?: { readonly href: string; readonly text: string }
): LinkPage {
  const further = link === undefined ? undefined : html`<p><a href="${link.href}">${link.text}</a></p>`
  return { status, title, main: html`<p>${text}</p>${further}` }
}

export interface FormPageParts {
  readonly view: RequestView
  readonly verb: LinkVerb
  readonly seal: string
  readonly filled?: FilledForm
  /** What was wrong with what was filled in. */
  readonly problem?: string
}

/** The request, and the form that decides it. No choice is made beforehand, whatever the link was sent for. */
export function formPage({ view, verb, seal, filled, problem }: FormPageParts): LinkPage {
  const { decision, reason = '', word = '' } = filled ?? {}
  const order = verb === 'deny' ? (['deny', 'approve'] as const) : (['approve', 'deny'] as const)
  const choices = order.map(
    (one) =>
      html`<label><input type="radio" name="decision" value="${one}" required${safeHtml(one === decision ? ' checked' : '')}> ${LABELS[one]}</label>`
  )
  const main = html`${problem === undefined ? undefined : html`<p class="problem" role="alert">${problem}</p>`}
${requestFacts(view)}
<form method="post">
<input type="hidden" name="form" value="${seal}">
<fieldset><legend>Your decision</legend>
${choices}
</fieldset>
<label for="reason">Reason, which goes on record; needed to deny</label>
<textarea id="reason" name="reason" rows="3" maxlength="${REASON_LENGTH_MAX}">
${reason}</textarea>
${isAtLeast(view.risk, 'high') ? wordField(word) : undefined}
<button>Send my decision</button>
</form>`
  return { status: problem === undefined ? 200 : 400, title: view.summary, main }
}

const LABELS = { approve: 'Approve', deny: 'Deny' } as const

const wordField = (
  word: string
): Html => html`<label for="word">To approve, type the word <strong>${APPROVAL_WORD}</strong></label>
<input id="word" name="word" value="${word}" autocomplete="off" autocapitalize="none" spellcheck="false">`

/** Everything that would be done: a vote binds all of it, so nothing is cut. */
function requestFacts(view: RequestView): Html {
  const { action, risk, requestedBy, openedAt, deadlineAt, context, version, detail } = view
  return html`<dl>
<dt>Action</dt><dd>${action}</dd>
<dt>Risk</dt><dd>${risk}</dd>
<dt>Asked by</dt><dd><bdi>${requestedBy.agent}</bdi>${onBehalf(requestedBy.onBehalfOf)}</dd>
<dt>Asked at</dt><dd>${timeText(openedAt)}</dd>
${deadlineAt === undefined ? undefined : html`<dt>To be decided by</dt><dd>${timeText(deadlineAt)}</dd>`}
${version === 1 ? undefined : html`<dt>Version</dt><dd>${version}: what was asked has been edited</dd>`}
${context === undefined || context.outcome === 'complete' ? undefined : html`<dt>Caution</dt><dd>${cautionText(context)}</dd>`}
</dl>
<h2>What would be done</h2>
<pre dir="ltr" tabindex="0">${JSON.stringify(detail, null, 2)}</pre>`
}

const onBehalf = (name: string | undefined): Html | undefined =>
  name === undefined ? undefined : html`, on behalf of <bdi>${name}</bdi>`

function cautionText(context: Exclude<RequestView['context'], undefined | { outcome: 'complete' }>): string {
  return context.outcome === 'stale'
    ? `The agent’s knowledge was ${Math.round(context.ageMs / 1_000)} s old when it asked.`
    : 'The agent asked without access to what it knows.'
}

/** What became of a request, for somebody who may see it. */
export function settledPage(view: RequestView): LinkPage {
  const said = view.verdict === undefined ? `It is ${view.status}.` : verdictText(view.verdict)
  return { status: 200, title: 'Nothing is left to decide', main: html`<p>${view.summary}</p><p>${said}</p>` }
}

/** For somebody who has voted on a request that is still pending. */
export function votedPage(view: RequestView, vote: RequestView['votes'][number]): LinkPage {
  const { decision, votedAt } = vote
  return noticePage(
    200,
    `You chose to ${decision}`,
    `Recorded at ${timeText(votedAt)}. “${view.summary}” is waiting for others.`
  )
}

export const supersededPage: LinkPage = noticePage(
  409,
  'What was asked has been changed',
  'This link is for an earlier version, so nothing can be decided with it. Open the newest message about this request.'
)

/** What came of pressing the button. */
export function answerPage(answer: VoteAnswer, decision: 'approve' | 'deny'): LinkPage {
  switch (answer.outcome) {
    case 'recorded': {
      const then = answer.verdict === undefined ? 'The request is waiting for others.' : verdictText(answer.verdict)
      return noticePage(200, decision === 'approve' ? 'Your approval is recorded' : 'Your denial is recorded', then)
    }
    case 'already-decided':
      return noticePage(
        200,
        `You had chosen to ${answer.decision}`,
        answer.verdict === undefined ? 'That stands; the request is waiting for others.' : verdictText(answer.verdict)
      )
    case 'too-late':
      return noticePage(
        409,
        'Too late',
        `Your decision was put on record and changes nothing. ${verdictText(answer.verdict)}`
      )
    case 'superseded':
      return supersededPage
    case 'not-authorized':
      return noticePage(403, 'You may not decide this', REFUSALS[answer.because])
  }
}

const REFUSALS: Readonly<Record<Extract<VoteAnswer, { outcome: 'not-authorized' }>['because'], string>> = {
  'not-asked': 'You are not among those who are asked.',
  'separation-of-duties': 'Nobody decides what they themselves asked for.',
  'not-known': 'You are no longer among those who decide here.'
}

function verdictText(verdict: Verdict): string {
  const at = timeText(verdict.decidedAt)
  switch (verdict.outcome) {
    case 'approved':
      return `It was approved by ${verdict.by} at ${at}.`
    case 'denied':
      return `It was denied by ${verdict.by} at ${at}: ${verdict.reason}`
    case 'revoked':
      return `It was approved, and ${verdict.by} took the approval back at ${at}: ${verdict.reason}`
    case 'timed-out':
      return `Nobody decided in time; it ended at ${at}.`
    case 'cancelled':
      return `It was withdrawn at ${at}.`
  }
}

/** Pages without a script cannot know the reader's zone. */
const timeText = (at: number): string =>
  new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/:\d\d\.\d{3}Z$/, ' UTC')
