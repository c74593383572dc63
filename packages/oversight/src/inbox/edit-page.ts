import type { JsonObject } from '@enablement/core'
import { type Html, html } from '../page/html.ts'
import type { RequestView } from '../request/request-view.ts'
import { type Change, changesView } from './changes.ts'
import { pageOf, requestPath, type Site } from './layout.ts'
import { shownJson } from './shown-json.ts'
import { errorText, TEXT_LENGTH_MAX, verbatim } from './text-field.ts'
import type { InboxVisitor } from './visitor.ts'
import { type Notice, noticeView } from './vote-text.ts'

export interface EditPageParts {
  readonly view: RequestView
  readonly ticket: string
  /** What was typed, when it comes back. */
  readonly text?: string
  readonly reason?: string
  /** One for each fault of the detail; the path comes first where there is one. */
  readonly faults?: readonly string[]
  readonly reasonFault?: string | undefined
  readonly notice?: Notice
  /** What was typed as a change to a version that is no longer asked. */
  readonly overtakenText?: string
}

export function editPage(site: Site, visitor: InboxVisitor, parts: EditPageParts): Html {
  const { view, ticket, reason = '', faults = [], reasonFault, notice, overtakenText } = parts
  const text = parts.text ?? shownJson(view.detail, 'indented')
  const hasFault = faults.length > 0
  const detailFault = hasFault ? html` aria-invalid="true" aria-describedby="detail-error" autofocus` : undefined
  const reasonInvalid =
    reasonFault === undefined ? undefined : html` aria-invalid="true" aria-describedby="reason-error"`
  const main = html`<p class="back"><a href="${requestPath(site, view.id)}" data-back>Back to the request</a></p>
${notice === undefined ? undefined : noticeView(notice)}
<h1>Edit: <bdi>${view.summary}</bdi></h1>
<p>Votes so far become void, and whoever was asked is asked again about your version.</p>
<form method="post" action="${requestPath(site, view.id, '/edit')}" class="editor">
${hidden(view, ticket)}
<label for="detail">What would be done, as JSON</label>
${hasFault ? html`<ul class="error" id="detail-error">${faults.map((fault) => html`<li>${fault}</li>`)}</ul>` : undefined}
<textarea id="detail" name="detail" class="json" rows="${Math.min(30, text.split('\n').length + 2)}" spellcheck="false" autocapitalize="off" autocomplete="off" required${detailFault}>
${verbatim(text)}</textarea>
${overtakenText === undefined ? undefined : html`<details><summary>What you typed</summary><pre class="json" tabindex="0" role="region" aria-label="What you typed">${overtakenText}</pre></details>`}
<label for="reason">Why</label>
${errorText('reason', reasonFault)}
<textarea id="reason" name="reason" rows="2" maxlength="${TEXT_LENGTH_MAX}" required dir="auto"${reasonInvalid}>
${verbatim(reason)}</textarea>
<button name="step" value="check">Check the change</button>
</form>`
  return pageOf(site, {
    title: `${hasFault || reasonFault !== undefined ? 'Error: ' : ''}Edit ${view.summary}`,
    visitor,
    main
  })
}

export interface CheckPageParts {
  readonly view: RequestView
  readonly ticket: string
  readonly detail: JsonObject
  readonly reason: string
  readonly changes: readonly Change[]
}

/** Shows what an edit would change, before it does. The text goes along, so that no server has to keep it. */
export function checkPage(site: Site, visitor: InboxVisitor, parts: CheckPageParts): Html {
  const { view, ticket, detail, reason, changes } = parts
  const main = html`<h1>Check your change</h1>
<p><bdi>${view.summary}</bdi></p>
${changesView(changes, 'What you would change')}
<p>Why: <q dir="auto">${reason}</q></p>
<form method="post" action="${requestPath(site, view.id, '/edit')}">
${hidden(view, ticket)}
<input type="hidden" name="detail" value="${shownJson(detail, 'indented')}">
<input type="hidden" name="reason" value="${verbatim(reason)}">
<div class="buttons">
<button class="approve" name="step" value="save">Save and ask again</button>
<button name="step" value="back">Go on editing</button>
</div>
</form>`
  return pageOf(site, { title: 'Check your change', visitor, main })
}

const hidden = (view: RequestView, ticket: string): Html => html`<input type="hidden" name="form" value="${ticket}">
<input type="hidden" name="hash" value="${view.argumentHash}">`
