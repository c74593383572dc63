import { type Html, html } from '../page/html.ts'
import type { RequestView } from '../request/request-view.ts'
import { changesByEdit, changesView } from './changes.ts'
import { jsonView } from './json-view.ts'
import { homeOf, pageOf, requestPath, type Site } from './layout.ts'
import {
  awaits,
  contextText,
  contextWarning,
  isAsked,
  ownVote,
  requesterText,
  riskBadge,
  statusBadge,
  verdictText
} from './request-facts.ts'
import { shownJson } from './shown-json.ts'
import { stateOf } from './state-mark.ts'
import { errorText, TEXT_LENGTH_MAX, verbatim } from './text-field.ts'
import { instant } from './time-text.ts'
import type { InboxVisitor } from './visitor.ts'
import { type Notice, noticeView } from './vote-text.ts'

/** What a form that was refused goes back with, so that nothing has to be typed again. */
export interface Refused {
  readonly field: 'reason' | 'comment'
  readonly error: string
  readonly text: string
}

export interface RequestPageParts {
  readonly view: RequestView
  readonly ticket: string
  readonly now: number
  readonly notice?: Notice
  readonly refused?: Refused
  /** A reason that was typed for a version which is no longer asked. */
  readonly reason?: string
}

export function requestPage(site: Site, visitor: InboxVisitor, parts: RequestPageParts): Html {
  const { view, now, notice, refused } = parts
  const warning = contextWarning(view.context)
  const title = `${refused === undefined ? '' : 'Error: '}${view.summary}`
  const main = html`<p class="back"><a href="${homeOf(site)}" data-back>Back to the list</a></p>
${notice === undefined ? undefined : noticeView(notice)}
<article class="edge-${view.risk}" data-request="${view.id}" data-ticket="${parts.ticket}" data-hash="${view.argumentHash}">
<header>
<h1 dir="auto">${view.summary}</h1>
<p class="facts">${statusBadge(view.status)} ${riskBadge(view.risk)} <span><bdi>${view.action}</bdi></span> <span>version ${view.version}</span></p>
${outcome(visitor, view, now)}
${warning === undefined ? undefined : html`<p class="warning">${warning}</p>`}
</header>
<div class="news" id="news" data-live="request" data-mark="${stateOf(view)}"><p role="status" id="news-text"></p><button type="button" id="news-show" hidden>Show changes</button></div>
<div class="columns">
<div class="detail">
<section aria-labelledby="detail-title" id="detail" tabindex="-1"><h2 id="detail-title">What would be done</h2>
${jsonView(view.detail)}
<details><summary>As JSON, and its hash</summary>
<pre class="json" tabindex="0" role="region" aria-label="Canonical JSON of the detail">${shownJson(view.detail)}</pre>
<p>A vote counts for this alone: <code class="hash">${view.argumentHash}</code></p></details>
${view.status === 'pending' && isAsked(visitor, view) ? html`<p><a class="button" href="${requestPath(site, view.id, '/edit')}" data-edit>Edit what is asked</a></p>` : undefined}
</section>
${edits(view, now)}
</div>
${awaits(visitor, view) ? decision(site, parts) : undefined}
<div class="rest">
${facts(view, now)}
${tiers(visitor, view, now)}
${comments(site, parts)}
</div>
</div>
</article>`
  return pageOf(site, { title, visitor, main })
}

/** Where things stand, for whoever comes back after a form and for whoever was not the only one asked. */
function outcome(visitor: InboxVisitor, view: RequestView, now: number): Html | undefined {
  const vote = ownVote(visitor, view)
  const own =
    vote === undefined
      ? undefined
      : html`You ${vote.decision === 'approve' ? 'approved' : 'denied'} this ${instant(vote.votedAt, now)}. `
  const all = view.verdict === undefined ? undefined : verdictText(view.verdict, now)
  if (own === undefined && all === undefined) return undefined
  const open = view.status === 'pending' ? 'Others are still asked.' : undefined
  return html`<p class="outcome" id="outcome" tabindex="-1">${own}${all ?? open}</p>`
}

function facts(view: RequestView, now: number): Html {
  const { escalatesAt, deadlineAt } = view
  const effect = {
    idle: view.status === 'approved' ? 'not carried out yet' : undefined,
    running: 'being carried out',
    executed: 'carried out',
    'in-doubt': 'in doubt: whoever carried it out was lost on the way'
  }[view.execution.state]
  return html`<section aria-labelledby="facts-title"><h2 id="facts-title">About this request</h2>
<dl class="members">
<div><dt>Asked by</dt><dd>${requesterText(view.requestedBy)}, ${instant(view.openedAt, now)}</dd></div>
<div><dt>What the agent knew</dt><dd>${contextText(view.context)}</dd></div>
${view.queued ? html`<div><dt>Held</dt><dd>Everybody has been asked; it waits until somebody decides.</dd></div>` : undefined}
${escalatesAt === undefined ? undefined : html`<div><dt>Next tier is asked</dt><dd>${instant(escalatesAt, now)}</dd></div>`}
${deadlineAt === undefined ? undefined : html`<div><dt>Deadline</dt><dd>${instant(deadlineAt, now)}</dd></div>`}
${effect === undefined ? undefined : html`<div><dt>Effect</dt><dd>${effect}${'since' in view.execution ? html`, ${instant(view.execution.since, now)}` : undefined}</dd></div>`}
<div><dt>Policy</dt><dd><code>${view.policyVersion}</code></dd></div>
<div><dt>Request</dt><dd><code>${view.id}</code></dd></div>
</dl></section>`
}

function tiers(visitor: InboxVisitor, view: RequestView, now: number): Html {
  const numbers = [...new Set(view.seats.map((seat) => seat.tier))].sort((one, other) => one - other)
  const rows = numbers.map((tier) => {
    const seats = view.seats
      .filter((seat) => seat.tier === tier)
      .map((seat) => {
        const vote = view.votes.find((one) => one.approver === seat.approver)
        const via =
          seat.via.kind === 'named'
            ? undefined
            : html` <span class="quiet">(${viaNames[seat.via.kind]} <bdi>${seat.via.of}</bdi>)</span>`
        return html`<li><bdi>${seat.approver}</bdi>${seat.approver === visitor.approver ? ' (you)' : undefined}${via}${vote === undefined ? undefined : voteText(vote, now)}</li>`
      })
    return html`<li><h3>Tier ${tier + 1}${tier === view.tier && view.status === 'pending' ? html` <span class="quiet">asked last</span>` : undefined}</h3><ul>${seats}</ul></li>`
  })
  const others = view.votes.filter((vote) => view.seats.every((seat) => seat.approver !== vote.approver))
  const more = others.map((vote) => html`<li><bdi>${vote.approver}</bdi>${voteText(vote, now)}</li>`)
  return html`<section aria-labelledby="asked-title"><h2 id="asked-title">Who is asked</h2>
${numbers.length === 0 ? html`<p class="quiet">Nobody yet.</p>` : html`<ol class="tiers" role="list">${rows}</ol>`}
${more.length === 0 ? undefined : html`<h3>Votes of others</h3><ul>${more}</ul>`}
</section>`
}

const viaNames = { group: 'for group', 'on-call': 'on call for', 'delegate-of': 'in place of' } as const

function voteText(vote: RequestView['votes'][number], now: number): Html {
  const reason = vote.reason === undefined ? undefined : html`: <q dir="auto">${vote.reason}</q>`
  return html` <span class="vote ${vote.decision}">${vote.decision === 'approve' ? 'approved' : 'denied'}</span> ${instant(vote.votedAt, now)}${reason}`
}

function edits(view: RequestView, now: number): Html | undefined {
  if (view.edits.length === 0) return undefined
  const changes = changesByEdit(view)
  const rows = view.edits.map(
    ({ by, at, version, reason }, edit) =>
      html`<li><p>Version ${version} by <bdi>${by}</bdi>, ${instant(at, now)}: <q dir="auto">${reason}</q></p>${changesView(changes[edit] ?? [], `What version ${version} changed`)}</li>`
  )
  return html`<section aria-labelledby="edits-title"><h2 id="edits-title">What was changed, the latest first</h2><p class="quiet">Each change made the votes before it void.</p><ol class="notes" role="list" reversed>${rows.reverse()}</ol></section>`
}

function comments(site: Site, { view, ticket, now, refused }: RequestPageParts): Html {
  const rows = view.comments.map(
    ({ by, text, at }) =>
      html`<li><p><bdi>${by}</bdi> ${instant(at, now)}</p><blockquote dir="auto">${text}</blockquote></li>`
  )
  const error = refused?.field === 'comment' ? refused : undefined
  return html`<section aria-labelledby="comments-title" id="comments" tabindex="-1"><h2 id="comments-title">Comments</h2>
${rows.length === 0 ? html`<p class="quiet">None yet.</p>` : html`<ol class="notes" role="list">${rows}</ol>`}
<form method="post" action="${requestPath(site, view.id, '/comment')}">
<input type="hidden" name="form" value="${ticket}">
<label for="comment">Add a comment</label>
${errorText('comment', error?.error)}
<textarea id="comment" name="text" rows="3" maxlength="${TEXT_LENGTH_MAX}" required dir="auto"${invalid('comment', error)}>
${verbatim(error?.text ?? '')}</textarea>
<button>Comment</button>
</form></section>`
}

function decision(site: Site, { view, ticket, refused, reason = '' }: RequestPageParts): Html {
  const error = refused?.field === 'reason' ? refused : undefined
  return html`<section class="decision" aria-labelledby="decision-title"><h2 id="decision-title">Your decision</h2>
<form method="post" action="${requestPath(site, view.id, '/decide')}">
<input type="hidden" name="form" value="${ticket}">
<input type="hidden" name="hash" value="${view.argumentHash}">
<label for="reason">Reason <span class="quiet">(needed to deny)</span></label>
${errorText('reason', error?.error)}
<textarea id="reason" name="reason" rows="3" maxlength="${TEXT_LENGTH_MAX}" dir="auto"${invalid('reason', error)}>
${verbatim(error?.text ?? reason)}</textarea>
<div class="buttons">
<button class="approve" name="decision" value="approve" id="approve">Approve</button>
<button class="deny" name="decision" value="deny" id="deny">Deny</button>
</div>
</form></section>`
}

const invalid = (field: string, error: Refused | undefined): Html | undefined =>
  error === undefined ? undefined : html` aria-invalid="true" aria-describedby="${field}-error" autofocus`
