import { type Html, html } from '../page/html.ts'
import { RISKS } from '../policy/risk.ts'
import type { RequestView } from '../request/request-view.ts'
import { homeOf, type ListName, pageOf, requestPath, type Site } from './layout.ts'
import type { Listing, Wanted } from './listing.ts'
import { awaits, contextWarning, requesterText, riskBadge, statusBadge, verdictText } from './request-facts.ts'
import { shortInstant } from './time-text.ts'
import type { InboxVisitor } from './visitor.ts'

const headings: Readonly<Record<ListName, string>> = { waiting: 'To decide', open: 'All open', settled: 'Settled' }

export function listPage(site: Site, visitor: InboxVisitor, wanted: Wanted, listing: Listing, now: number): Html {
  const { list } = wanted
  const isFirst = wanted.after === undefined
  const isFiltered = wanted.text !== '' || wanted.risk !== undefined
  const rows = listing.requests.map((view) => row(site, visitor, view, now))
  const isSelectable = listing.requests.some((view) => awaits(visitor, view))
  const main = html`<h1>${headings[list]}</h1>
${list === 'waiting' ? news(isFirst && !isFiltered) : undefined}
${filter(site, wanted)}
<div id="list">
${rows.length === 0 ? html`<p class="empty">${emptyText(wanted, isFiltered)}</p>` : undefined}
${
  rows.length === 0
    ? undefined
    : html`<form method="get" action="${site.basePath}/batch" class="requests">
<ol role="list" aria-label="${headings[list]}, the newest first">${rows}</ol>
${isSelectable ? selection : undefined}
</form>`
}
${pager(site, wanted, listing)}
</div>`
  return pageOf(site, { title: headings[list], visitor, list, main })
}

/**
 * Keeps its height whatever it says, so that nothing below it moves. `complete`: whatever is not on this page is new;
 * on other pages it is what arrives after they were opened.
 */
const news = (
  complete: boolean
): Html => html`<div class="news" id="news" data-live="waiting" data-complete="${complete ? 'yes' : 'no'}">
<p role="status" id="news-text"><noscript>Load this page again to see what is new.</noscript></p>
<button type="button" id="news-show" hidden>Show what is new</button>
</div>`

function emptyText(wanted: Wanted, isFiltered: boolean): string {
  if (isFiltered) return 'No request matches.'
  return wanted.list === 'waiting' ? 'Nothing waits for you.' : 'There is none.'
}

function filter(site: Site, { list, text, risk }: Wanted): Html {
  const options = RISKS.slice(1).map((one) =>
    one === risk
      ? html`<option value="${one}" selected>${one} or more</option>`
      : html`<option value="${one}">${one}${one === 'critical' ? '' : ' or more'}</option>`
  )
  return html`<form method="get" action="${homeOf(site)}" role="search" class="filter" aria-label="Requests">
${list === 'waiting' ? undefined : html`<input type="hidden" name="list" value="${list}">`}
<div class="field"><label for="q">Find</label><input id="q" name="q" type="search" value="${text}" maxlength="200" autocomplete="off"></div>
<div class="field"><label for="risk">Risk</label><select id="risk" name="risk"><option value="">any</option>${options}</select></div>
<button>Filter</button>
</form>`
}

function row(site: Site, visitor: InboxVisitor, view: RequestView, now: number): Html {
  const warning = contextWarning(view.context)
  const label = html`<span class="unseen">Select: ${view.summary}</span>`
  const pick = awaits(visitor, view)
    ? html`<label class="pick"><input type="checkbox" name="request" value="${view.id}">${label}</label>`
    : html`<span class="pick"></span>`
  return html`<li class="request edge-${view.risk}" data-request="${view.id}" data-hash="${view.argumentHash}">
${pick}
<div class="about">
<h2><a href="${requestPath(site, view.id)}" dir="auto">${view.summary}</a></h2>
<p class="facts">${view.status === 'pending' ? undefined : statusBadge(view.status)} ${riskBadge(view.risk)} <span><bdi>${view.action}</bdi></span> <span>asked by ${requesterText(view.requestedBy)}</span> <span>${shortInstant(view.openedAt, now)}</span></p>
<p class="facts" data-state>${state(view, now)}</p>
${warning === undefined ? undefined : html`<p class="warning">${warning}</p>`}
</div>
</li>`
}

function state(view: RequestView, now: number): Html {
  if (view.verdict !== undefined) return verdictText(view.verdict, now)
  const edited = view.version > 1 ? html`<span>version ${view.version}, edited</span> ` : undefined
  if (view.queued) return html`${edited}<span>held until somebody decides</span>`
  const deadline =
    view.deadlineAt === undefined ? undefined : html`<span>deadline ${shortInstant(view.deadlineAt, now)}</span> `
  const next =
    view.escalatesAt === undefined ? undefined : html`<span>next tier ${shortInstant(view.escalatesAt, now)}</span>`
  return html`${edited}${deadline}${next}`
}

/** The next page says what was chosen, each with its hash; nothing is decided here. */
const selection = html`<div class="selection" role="group" aria-label="Selected requests">
<p class="quiet" data-selected>With those selected:</p>
<button name="decision" value="approve">Review to approve</button>
<button name="decision" value="deny">Review to deny</button>
</div>`

function pager(site: Site, wanted: Wanted, { next, lookedThrough }: Listing): Html | undefined {
  const link = (after: string | undefined): string => {
    const query = new URLSearchParams()
    if (wanted.list !== 'waiting') query.set('list', wanted.list)
    if (wanted.text !== '') query.set('q', wanted.text)
    if (wanted.risk !== undefined) query.set('risk', wanted.risk)
    if (after !== undefined) query.set('after', after)
    return query.size === 0 ? homeOf(site) : `${homeOf(site)}?${query.toString()}`
  }
  if (next === undefined && wanted.after === undefined) return undefined
  const bound =
    lookedThrough === undefined
      ? undefined
      : html`<p class="quiet">Looked through ${lookedThrough} requests; there are older ones.</p>`
  return html`${bound}<nav class="pager" aria-label="Pages"><ul>
${wanted.after === undefined ? undefined : html`<li><a href="${link(undefined)}">Newest</a></li>`}
${next === undefined ? undefined : html`<li><a rel="next" href="${link(next)}">Older</a></li>`}
</ul></nav>`
}
