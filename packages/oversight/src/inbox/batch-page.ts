import { type Html, html } from '../page/html.ts'
import type { RequestView } from '../request/request-view.ts'
import { jsonView } from './json-view.ts'
import { homeOf, pageOf, requestPath, type Site } from './layout.ts'
import { contextWarning, requesterText, riskBadge } from './request-facts.ts'
import { errorText, TEXT_LENGTH_MAX, verbatim } from './text-field.ts'
import { shortInstant } from './time-text.ts'
import type { InboxVisitor } from './visitor.ts'
import type { Notice } from './vote-text.ts'

export interface BatchPageParts {
  readonly decision: 'approve' | 'deny'
  readonly views: readonly RequestView[]
  /** How many of those chosen are no longer theirs to decide. */
  readonly leftOut: number
  readonly ticket: string
  readonly now: number
  /** What was typed, when it comes back. */
  readonly reason?: string
  readonly error?: string | undefined
}

/** Every one of them in full, each with its hash, before anything is decided. */
export function batchPage(site: Site, visitor: InboxVisitor, parts: BatchPageParts): Html {
  const { decision, views, leftOut, ticket, now, reason = '', error } = parts
  const verb = decision === 'approve' ? 'Approve' : 'Deny'
  const count = views.length === 1 ? '1 request' : `${views.length} requests`
  const rows = views.map((view) => item(site, view, now))
  const invalid = error === undefined ? undefined : html` aria-invalid="true" aria-describedby="reason-error" autofocus`
  const main = html`<p class="back"><a href="${homeOf(site)}" data-back>Back to the list</a></p>
<h1>${views.length === 0 ? `Nothing to ${decision}` : `${verb} ${count}?`}</h1>
${leftOut === 0 ? undefined : html`<p class="warning">${leftOut} of those selected ${leftOut === 1 ? 'is' : 'are'} no longer yours to decide and left out.</p>`}
${
  views.length === 0
    ? html`<p>Select requests in the list first.</p>`
    : html`<p>Each is decided by itself, as it is shown here: one that changes meanwhile is not counted.</p>
<form method="post" action="${site.basePath}/batch">
${enterReviews(decision)}
<input type="hidden" name="form" value="${ticket}">
<ol class="batch" role="list">${rows}</ol>
<label for="reason">Reason <span class="quiet">${decision === 'deny' ? '(for each of them)' : '(optional, for each of them)'}</span></label>
${errorText('reason', error)}
<textarea id="reason" name="reason" rows="3" maxlength="${TEXT_LENGTH_MAX}" dir="auto"${decision === 'deny' ? html` required` : undefined}${invalid}>
${verbatim(reason)}</textarea>
<div class="buttons"><button class="${decision}" name="decision" value="${decision}">${verb} those checked</button></div>
</form>`
}`
  return pageOf(site, { title: `${error === undefined ? '' : 'Error: '}${verb} ${count}`, visitor, main })
}

/**
 * First among the form's buttons: the one that Enter on a checkbox presses (HTML Standard, implicit submission; browsers
 * pass over one that is disabled). It only brings this page again: what decides is pressed on purpose.
 */
const enterReviews = (decision: 'approve' | 'deny'): Html =>
  html`<button class="unseen" name="review" value="${decision}" tabindex="-1" aria-hidden="true">Review</button>`

function item(site: Site, view: RequestView, now: number): Html {
  const warning = contextWarning(view.context)
  return html`<li class="request edge-${view.risk}">
<label class="pick"><input type="checkbox" name="item" value="${view.id} ${view.argumentHash}" checked><span class="unseen">Include: ${view.summary}</span></label>
<div class="about">
<h2><a href="${requestPath(site, view.id)}" dir="auto">${view.summary}</a></h2>
<p class="facts">${riskBadge(view.risk)} <span><bdi>${view.action}</bdi></span> <span>asked by ${requesterText(view.requestedBy)}</span> <span>${shortInstant(view.openedAt, now)}</span></p>
${warning === undefined ? undefined : html`<p class="warning">${warning}</p>`}
${jsonView(view.detail)}
<p class="quiet">Hash: <code class="hash">${view.argumentHash}</code></p>
</div></li>`
}

/** What became of each. */
export interface BatchOutcome {
  readonly requestId: string
  readonly summary: string
  readonly notice: Notice
}

export function batchOutcomePage(site: Site, visitor: InboxVisitor, outcomes: readonly BatchOutcome[]): Html {
  const counted = outcomes.filter(({ notice }) => notice.tone === 'good').length
  const rows = outcomes.map(
    ({ requestId, summary, notice }) =>
      html`<li class="notice ${notice.tone}"><h2><a href="${requestPath(site, requestId)}" dir="auto">${summary}</a></h2><p><strong>${notice.title}.</strong> ${notice.text}</p></li>`
  )
  const main = html`<p class="back"><a href="${homeOf(site)}" data-back>Back to the list</a></p>
<h1>${counted} of ${outcomes.length} counted</h1>
<ol class="batch" role="list">${rows}</ol>`
  return pageOf(site, { title: `${counted} of ${outcomes.length} counted`, visitor, main })
}
