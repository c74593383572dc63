import type { RequestView } from '../request/request-view.ts'
import { pageAnswer, seeOther } from './answer.ts'
import { batchPage } from './batch-page.ts'
import { type Desk, notFound, requestFor } from './desk.ts'
import { editPage } from './edit-page.ts'
import { requestPath } from './layout.ts'
import { listPage } from './list-page.ts'
import { listingOf, wantedOf } from './listing.ts'
import { awaits, isAsked } from './request-facts.ts'
import { requestPage } from './request-page.ts'
import type { InboxVisitor } from './visitor.ts'

/** As many as two pages of a list can hold; each is decided by a call of its own. */
export const BATCH_MAX = 50

export async function showList(desk: Desk, visitor: InboxVisitor, query: URLSearchParams): Promise<Response> {
  const wanted = wantedOf(query, visitor)
  const listing = await listingOf(desk.oversight, visitor, wanted)
  return pageAnswer(200, listPage(desk.site, visitor, wanted, listing, desk.platform.clock.now()))
}

export async function showRequest(desk: Desk, visitor: InboxVisitor, requestId: string): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  const parts = { view, ticket: desk.tickets.issue(visitor), now: desk.platform.clock.now() }
  return pageAnswer(200, requestPage(desk.site, visitor, parts))
}

export async function showEditor(desk: Desk, visitor: InboxVisitor, requestId: string): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  if (view.status !== 'pending' || !isAsked(visitor, view)) return seeOther(requestPath(desk.site, view.id))
  return pageAnswer(200, editPage(desk.site, visitor, { view, ticket: desk.tickets.issue(visitor) }))
}

/** The page that confirms a selection. It is a GET, which may be loaded again: it decides nothing. */
export async function showBatch(desk: Desk, visitor: InboxVisitor, query: URLSearchParams): Promise<Response> {
  const chosen = [...new Set(query.getAll('request'))].slice(0, BATCH_MAX)
  const views = await viewsOf(desk, visitor, chosen)
  const page = batchPage(desk.site, visitor, {
    decision: query.get('decision') === 'deny' ? 'deny' : 'approve',
    views,
    leftOut: chosen.length - views.length,
    ticket: desk.tickets.issue(visitor),
    now: desk.platform.clock.now()
  })
  return pageAnswer(200, page)
}

/** Those of the requests that await this person's decision. */
export async function viewsOf(
  desk: Desk,
  visitor: InboxVisitor,
  requestIds: readonly string[]
): Promise<RequestView[]> {
  const views: RequestView[] = []
  for (const requestId of requestIds) {
    const view = await requestFor(desk, visitor, requestId)
    if (view !== undefined && awaits(visitor, view)) views.push(view)
  }
  return views
}
