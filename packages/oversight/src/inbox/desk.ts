import type { Platform } from '@enablement/core'
import type { OversightCalls } from '../oversight-calls.ts'
import type { RequestView } from '../request/request-view.ts'
import { pageAnswer } from './answer.ts'
import { readForm } from './form-body.ts'
import type { FormTickets } from './form-ticket.ts'
import type { InboxEvent } from './inbox-event.ts'
import type { Site } from './layout.ts'
import { noticePage } from './notice-page.ts'
import { maySee } from './request-facts.ts'
import { isSameOrigin } from './same-origin.ts'
import type { InboxVisitor } from './visitor.ts'
import { findRequest } from './voting.ts'

/** What every page and form of an inbox works with. */
export interface Desk {
  readonly oversight: OversightCalls
  readonly site: Site
  /** Where the inbox is for its visitors, when that is not what requests say. */
  readonly origin: string | undefined
  readonly tickets: FormTickets
  readonly platform: Platform
  readonly report: (event: InboxEvent) => void
}

/** A form that was found to be one of ours, and its number. */
export interface Form {
  readonly fields: URLSearchParams
  readonly nonce: string
}

/** The request under that id, as far as this person may see it. */
export const requestFor = (desk: Desk, visitor: InboxVisitor, requestId: string): Promise<RequestView | undefined> =>
  findRequest(desk.oversight, requestId, (view) => maySee(visitor, view))

export const notice = (desk: Desk, status: number, title: string, text: string, visitor?: InboxVisitor): Response =>
  pageAnswer(status, noticePage(desk.site, { title, text }, visitor))

/** The same for what does not exist, is of another tenant, or is none of theirs. */
export const notFound = (desk: Desk, visitor: InboxVisitor): Response =>
  notice(desk, 404, 'Not found', 'There is no such request that you may see.', visitor)

/**
 * Reads a form and proves that it is one of ours, shown to this person: from a page of this origin, of the right type and
 * size, with a ticket that is good. Where it is not, the answer for it.
 */
export async function formOf(
  desk: Desk,
  request: Request,
  visitor: InboxVisitor,
  path: string
): Promise<Form | Response> {
  const refuse = (
    because: Extract<InboxEvent, { readonly because: unknown }>['because'],
    status: number,
    text: string
  ): Response => {
    desk.report({ type: 'inbox.refused', because, method: request.method, path })
    return notice(desk, status, 'Nothing was done', text, visitor)
  }
  if (!isSameOrigin(request, desk.origin))
    return refuse('cross-site', 403, 'This did not come from a page of the inbox.')
  const body = await readForm(request)
  if (body.outcome === 'refused') {
    return refuse(body.because, body.because === 'too-large' ? 413 : 415, 'This is no form of the inbox.')
  }
  const nonce = desk.tickets.open(body.fields.get('form') ?? '', visitor)
  if (nonce !== undefined) return { fields: body.fields, nonce }
  return refuse('form', 403, 'The page was open for too long, or under another sign-in. Please open the request again.')
}
