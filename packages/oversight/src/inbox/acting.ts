import type { JsonObject } from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { html } from '../page/html.ts'
import type { RequestView } from '../request/request-view.ts'
import { done, pageAnswer, seeOther } from './answer.ts'
import { type BatchOutcome, batchOutcomePage, batchPage } from './batch-page.ts'
import { changesBetween } from './changes.ts'
import { type Desk, type Form, notFound, requestFor } from './desk.ts'
import { checkPage, type EditPageParts, editPage } from './edit-page.ts'
import { schemaFaults, typedDetail } from './edited-detail.ts'
import { typed } from './form-body.ts'
import { requestPath } from './layout.ts'
import { noticePage } from './notice-page.ts'
import { BATCH_MAX, viewsOf } from './reading.ts'
import { verdictText } from './request-facts.ts'
import { type Refused, requestPage } from './request-page.ts'
import { shownJson } from './shown-json.ts'
import { textFault } from './text-field.ts'
import type { InboxVisitor } from './visitor.ts'
import { type Notice, notAuthorized, voteNotice } from './vote-text.ts'
import { castVote } from './voting.ts'

/** Something was said against a form. */
const REFUSED = 422

/** What the form was about is no longer so. */
const OVERTAKEN = 409

/** A hash as the confirming page of a selection has it. */
const HASH = /^[0-9a-f]{64}$/

export async function decide(desk: Desk, visitor: InboxVisitor, requestId: string, form: Form): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  const decision = decisionOf(form)
  if (decision === undefined) return malformed(desk, visitor)
  const reason = typed(form.fields, 'reason').trim()
  const error = reasonFault(decision, reason)
  if (error !== undefined) return again(desk, visitor, view, { field: 'reason', error, text: reason })
  const argumentHash = form.fields.get('hash') ?? ''
  const answer = await castVote(desk.oversight, visitor, view, { decision, reason, argumentHash, nonce: form.nonce })
  if (answer.outcome === 'recorded') return seeOther(requestPath(desk.site, view.id, '#outcome'))
  const status = answer.outcome === 'not-authorized' ? 403 : OVERTAKEN
  return await shown(desk, visitor, requestId, status, voteNotice(answer, desk.platform.clock.now()), reason)
}

export async function comment(desk: Desk, visitor: InboxVisitor, requestId: string, form: Form): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  const text = typed(form.fields, 'text').trim()
  const refused = (error: string): Response => again(desk, visitor, view, { field: 'comment', error, text })
  if (text === '') return refused('Write something first.')
  const fault = textFault(text)
  if (fault !== undefined) return refused(fault)
  // With the text in the key: the same form with another text is another comment.
  const idempotencyKey = `inbox:${form.nonce}:${bytesToHex(sha256(utf8ToBytes(text))).slice(0, 32)}`
  const { outcome } = await desk.oversight.comment(view.id, { by: visitor.approver, text, idempotencyKey })
  if (outcome === 'full') return refused('This request takes no more comments.')
  return seeOther(requestPath(desk.site, view.id, '#comments'))
}

/** The page's own script says that somebody has it before their eyes. */
export async function viewed(desk: Desk, visitor: InboxVisitor, requestId: string, form: Form): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  await desk.oversight.viewed(view.id, { by: visitor.approver, argumentHash: form.fields.get('hash') ?? '' })
  return done()
}

/** In two steps: what would change is shown before it does. */
export async function edit(desk: Desk, visitor: InboxVisitor, requestId: string, form: Form): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  const text = typed(form.fields, 'detail')
  const reason = typed(form.fields, 'reason').trim()
  const editor = (status: number, more: Partial<EditPageParts>): Response =>
    pageAnswer(
      status,
      editPage(desk.site, visitor, { view, ticket: desk.tickets.issue(visitor), text, reason, ...more })
    )
  const step = form.fields.get('step')
  if (step === 'back') return editor(200, {})
  const argumentHash = form.fields.get('hash') ?? ''
  if (view.argumentHash !== argumentHash) return overtaken(desk, visitor, view, { text, reason })
  const parsed = typedDetail(text)
  const reasonFault = reason === '' ? 'Say why, for whoever is asked again.' : textFault(reason)
  if (parsed.outcome === 'refused') return editor(REFUSED, { faults: parsed.faults, reasonFault })
  if (reasonFault !== undefined) return editor(REFUSED, { reasonFault })
  const changes = changesBetween(view.detail, parsed.detail)
  if (changes.length === 0) return editor(REFUSED, { faults: ['Nothing has been changed.'] })
  if (step !== 'save') {
    const { detail } = parsed
    const parts = { view, ticket: desk.tickets.issue(visitor), detail, reason, changes }
    return pageAnswer(200, checkPage(desk.site, visitor, parts))
  }
  try {
    return await save(desk, visitor, view, { detail: parsed.detail, reason, argumentHash }, editor)
  } catch (error) {
    const faults = schemaFaults(error)
    if (faults === undefined) throw error
    return editor(REFUSED, { faults })
  }
}

async function save(
  desk: Desk,
  visitor: InboxVisitor,
  view: RequestView,
  call: { readonly detail: JsonObject; readonly reason: string; readonly argumentHash: string },
  editor: (status: number, more: Partial<EditPageParts>) => Response
): Promise<Response> {
  const answer = await desk.oversight.edit(view.id, { by: visitor.approver, ...call })
  switch (answer.outcome) {
    case 'edited':
      return seeOther(requestPath(desk.site, view.id, '#detail'))
    case 'unchanged':
      return editor(REFUSED, { faults: ['Nothing has been changed.'] })
    case 'superseded': {
      const current = (await requestFor(desk, visitor, view.id)) ?? view
      return overtaken(desk, visitor, current, { text: shownJson(call.detail, 'indented'), reason: call.reason })
    }
    case 'not-authorized':
      return await shown(desk, visitor, view.id, 403, notAuthorized(answer.because))
    case 'already-settled': {
      const text = verdictText(answer.verdict, desk.platform.clock.now())
      return await shown(desk, visitor, view.id, OVERTAKEN, {
        tone: 'bad',
        title: 'Too late: nothing was changed',
        text
      })
    }
    case 'full':
      return await shown(desk, visitor, view.id, OVERTAKEN, fullOfEdits)
  }
}

const fullOfEdits: Notice = {
  tone: 'bad',
  title: 'Nothing was changed',
  text: html`It has been edited as often as a request may be. Decide on it as it is.`
}

/** Somebody else's edit came first: theirs is shown, to start again from, beside what was typed. */
function overtaken(desk: Desk, visitor: InboxVisitor, current: RequestView, mine: EditTexts): Response {
  const notice: Notice = {
    tone: 'bad',
    title: 'Not saved: it was changed while you edited it',
    text: html`What is asked now is version ${current.version}, which is below. Make your change to that.`
  }
  const parts = {
    view: current,
    ticket: desk.tickets.issue(visitor),
    reason: mine.reason,
    overtakenText: mine.text,
    notice
  }
  return pageAnswer(OVERTAKEN, editPage(desk.site, visitor, parts))
}

interface EditTexts {
  readonly text: string
  readonly reason: string
}

/** Decides each by itself, in turn, under the hash that the confirming page showed for it. */
export async function decideBatch(desk: Desk, visitor: InboxVisitor, form: Form): Promise<Response> {
  const decision = decisionOf(form)
  const review = decisionOf(form, 'review')
  const shownAs = decision ?? review
  if (shownAs === undefined) return malformed(desk, visitor)
  const reason = typed(form.fields, 'reason').trim()
  const items = [...new Set(form.fields.getAll('item'))].slice(0, BATCH_MAX).flatMap((item) => {
    const [requestId, argumentHash = ''] = item.split(' ')
    return requestId !== undefined && HASH.test(argumentHash) ? [{ requestId, argumentHash }] : []
  })
  const error = decision === undefined ? undefined : reasonFault(decision, reason)
  if (decision === undefined || items.length === 0 || error !== undefined) {
    const views = await viewsOf(
      desk,
      visitor,
      items.map(({ requestId }) => requestId)
    )
    const now = desk.platform.clock.now()
    const leftOut = items.length - views.length
    const ticket = desk.tickets.issue(visitor)
    const parts = { decision: shownAs, views, leftOut, ticket, now, reason, error }
    return pageAnswer(decision === undefined ? 200 : REFUSED, batchPage(desk.site, visitor, parts))
  }
  const outcomes: BatchOutcome[] = []
  for (const { requestId, argumentHash } of items) {
    const view = await requestFor(desk, visitor, requestId)
    const notice =
      view === undefined
        ? missing
        : await castVote(desk.oversight, visitor, view, { decision, reason, argumentHash, nonce: form.nonce }).then(
            (answer) => voteNotice(answer, desk.platform.clock.now()),
            (error: unknown) => {
              desk.report({ type: 'inbox.failed', method: 'POST', path: '/batch', error })
              return unknown
            }
          )
    outcomes.push({ requestId, summary: view?.summary ?? requestId, notice })
  }
  return pageAnswer(200, batchOutcomePage(desk.site, visitor, outcomes))
}

const missing: Notice = { tone: 'bad', title: 'Not found', text: html`There is no such request that you may see.` }

/** One that failed does not keep the others from being decided. */
const unknown: Notice = {
  tone: 'bad',
  title: 'Not known whether this was counted',
  text: html`The store did not answer. Load this page again to send the same once more: it counts once.`
}

function decisionOf({ fields }: Form, field = 'decision'): 'approve' | 'deny' | undefined {
  const decision = fields.get(field)
  return decision === 'approve' || decision === 'deny' ? decision : undefined
}

/** A form that no page of ours shows. */
function malformed(desk: Desk, visitor: InboxVisitor): Response {
  const page = noticePage(
    desk.site,
    { title: 'Not understood', text: 'The form named no decision. Nothing was done.' },
    visitor
  )
  return pageAnswer(400, page)
}

function reasonFault(decision: 'approve' | 'deny', reason: string): string | undefined {
  return decision === 'deny' && reason === '' ? 'Say why you deny it.' : textFault(reason)
}

/** The same page with what was typed, and what is wrong with it. */
function again(desk: Desk, visitor: InboxVisitor, view: RequestView, refused: Refused): Response {
  const parts = { view, ticket: desk.tickets.issue(visitor), now: desk.platform.clock.now(), refused }
  return pageAnswer(REFUSED, requestPage(desk.site, visitor, parts))
}

/** The request as it is now, with what became of the form; `reason` is what was typed, in case it is decided again. */
async function shown(
  desk: Desk,
  visitor: InboxVisitor,
  requestId: string,
  status: number,
  notice: Notice,
  reason = ''
): Promise<Response> {
  const view = await requestFor(desk, visitor, requestId)
  if (view === undefined) return notFound(desk, visitor)
  const parts = { view, ticket: desk.tickets.issue(visitor), now: desk.platform.clock.now(), notice, reason }
  return pageAnswer(status, requestPage(desk.site, visitor, parts))
}
