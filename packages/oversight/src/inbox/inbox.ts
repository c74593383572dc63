import { isSuiteError, type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import type { OversightCalls } from '../oversight-calls.ts'
import { comment, decide, decideBatch, edit, viewed } from './acting.ts'
import { textAnswer } from './answer.ts'
import { assetsAt } from './assets.ts'
import { type Desk, type Form, formOf, notFound, notice, requestFor } from './desk.ts'
import { formTickets } from './form-ticket.ts'
import type { InboxEvent } from './inbox-event.ts'
import { PAGE_SIZE } from './listing.ts'
import { type LiveQuestion, liveUpdates } from './live-updates.ts'
import { showBatch, showEditor, showList, showRequest } from './reading.ts'
import { type SignIn, signInAnswer } from './sign-in.ts'
import { stateOf } from './state-mark.ts'
import { type InboxVisitor, visitorOf } from './visitor.ts'

export interface InboxOptions {
  readonly oversight: OversightCalls
  /**
   * Says who sent a request, by a cookie, a header or whatever your sign-in uses, or undefined for nobody, who gets no
   * further than a page that says so. It is asked for every request and, while a page is open, once a minute; it must not
   * read the request's body. A throw counts as nobody, and is reported.
   */
  readonly authenticate: (request: Request) => Promise<InboxVisitor | undefined>
  /**
   * What signs the forms, of at least 32 bytes each (a text counts as its UTF-8). The first signs, all of them verify:
   * put a new one first, and drop the old one 12 hours later. All processes that serve the inbox share them.
   */
  readonly formKeys: readonly (string | Uint8Array)[]
  /** Where it is mounted, such as `/inbox`; empty for the root. Requests come with their whole path. */
  readonly basePath: string
  /** Where the page is for its visitors, such as `https://ops.example.com`, when a proxy calls the server by another name. */
  readonly origin?: string
  /** `Approvals` unless given. */
  readonly title?: string
  /** Where people sign in; without it the page that turns nobody away says only that. */
  readonly signIn?: SignIn
  /** How often an open page asks for what is new, in milliseconds; 3,000 unless given, 250 to 60,000. */
  readonly pollMs?: number
  readonly platform?: Platform
  /** What it throws or rejects with is dropped. */
  readonly observe?: (event: InboxEvent) => void
}

/** A web page on which people decide. */
export interface Inbox extends AsyncDisposable {
  /** Answers a request under `basePath`; never rejects. */
  handle(request: Request): Promise<Response>
  /** Ends the live updates of the pages that are open. What comes later is answered with a 503. */
  close(): Promise<void>
}

const FORM_KEY_BYTES_MIN = 32
const FORM_KEYS_MAX = 8
const POLL_MS = 3_000

/** Longer than any id of a request; what is longer is none. */
const REQUEST_ID_LENGTH_MAX = 128

const keySchema = z
  .union([z.string().transform((text) => utf8ToBytes(text)), z.instanceof(Uint8Array)])
  .refine((key) => key.length >= FORM_KEY_BYTES_MIN, `must have at least ${FORM_KEY_BYTES_MIN} bytes`)

const isOrigin = (text: string): boolean => URL.canParse(text) && new URL(text).origin === text

const optionsSchema = z.strictObject({
  oversight: z.custom<OversightCalls>((value) => typeof value === 'object' && value !== null && 'inspect' in value),
  authenticate: z.custom<InboxOptions['authenticate']>((value) => typeof value === 'function', 'must be a function'),
  formKeys: z.array(keySchema).min(1).max(FORM_KEYS_MAX),
  basePath: z.string().regex(/^(?:\/[\w.~-]+)*$/, 'must be empty, or begin with a slash and not end with one'),
  origin: z.string().refine(isOrigin, 'must be an origin, such as https://ops.example.com').exactOptional(),
  title: z.string().min(1).max(128).exactOptional(),
  signIn: z
    .strictObject({
      url: z.string().min(1),
      redirect: z.boolean().exactOptional(),
      returnParameter: z.string().min(1).exactOptional()
    })
    .exactOptional(),
  pollMs: z.number().min(250).max(60_000).exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: InboxEvent) => void>((value) => typeof value === 'function').exactOptional()
})

/**
 * The inbox as a handler of standard requests, for Hono, Express, Bun, Deno, Next and whatever else speaks fetch. Its
 * pages work without scripts; with them they are kept up to date. A GET changes nothing, so that nothing that fetches
 * ahead decides or leaves a trace of somebody who was not there.
 *
 * Throws `INVALID_OPTIONS` (core).
 */
export function createInbox(options: InboxOptions): Inbox {
  const parsed = parseOptions(optionsSchema, 'createInbox', options)
  const { oversight, authenticate, formKeys, basePath, origin, signIn, pollMs = POLL_MS, observe } = parsed
  const { platform = systemPlatform, title = 'Approvals' } = parsed
  const report = reporter(observe)
  const assets = assetsAt(basePath)
  const site = { basePath, title, assets: assets.paths }
  const tickets = formTickets(formKeys, basePath, platform)
  const desk: Desk = { oversight, site, origin, tickets, platform, report }
  const live = liveUpdates({ pollMs, platform, report })
  let isClosed = false

  const read = async (
    request: Request,
    url: URL,
    visitor: InboxVisitor,
    parts: readonly string[]
  ): Promise<Response | undefined> => {
    const [room = '', requestId, page] = parts
    if (room === '' && requestId === undefined) return await showList(desk, visitor, url.searchParams)
    if (room === 'batch' && requestId === undefined) return await showBatch(desk, visitor, url.searchParams)
    if (room === 'live' && requestId === undefined) return await updates(request, url, visitor)
    if (room !== 'requests' || requestId === undefined || parts.length > 3) return undefined
    if (page === undefined) return await showRequest(desk, visitor, requestId)
    return page === 'edit' ? await showEditor(desk, visitor, requestId) : undefined
  }

  /** A stream for who asks for one, and the same once for who does not. */
  const updates = async (request: Request, url: URL, visitor: InboxVisitor): Promise<Response | undefined> => {
    const requestId = url.searchParams.get('request')
    const snapshot = async (): Promise<string> => {
      if (requestId !== null) {
        const view = await requestFor(desk, visitor, requestId)
        return view === undefined ? '' : stateOf(view)
      }
      const { tenant, approver } = visitor
      const { requests, next } = await oversight.list({ tenant, approver, limit: PAGE_SIZE })
      const lines = requests.map((view) => `${view.id} ${view.argumentHash}`)
      return [next === undefined ? 'all' : 'more', ...lines].join('\n')
    }
    const accepted = request.headers.get('accept') ?? ''
    if (!accepted.includes('text/event-stream') || request.method === 'HEAD') return textAnswer(200, await snapshot())
    const isStillSignedIn = async (): Promise<boolean> => {
      const now = await visitorFrom(request)
      return now !== undefined && now.tenant === visitor.tenant && now.approver === visitor.approver
    }
    const question: LiveQuestion = { visitor, isStillSignedIn, snapshot, signal: request.signal }
    return live.open(question)
  }

  const act = async (visitor: InboxVisitor, parts: readonly string[], form: Form): Promise<Response | undefined> => {
    const [room, requestId, verb] = parts
    if (room === 'batch' && requestId === undefined) return await decideBatch(desk, visitor, form)
    if (room !== 'requests' || requestId === undefined || parts.length !== 3) return undefined
    switch (verb) {
      case 'decide':
        return await decide(desk, visitor, requestId, form)
      case 'comment':
        return await comment(desk, visitor, requestId, form)
      case 'edit':
        return await edit(desk, visitor, requestId, form)
      case 'viewed':
        return await viewed(desk, visitor, requestId, form)
      default:
        return undefined
    }
  }

  const visitorFrom = async (request: Request): Promise<InboxVisitor | undefined> => {
    try {
      return visitorOf(await authenticate(request))
    } catch (error) {
      report({ type: 'inbox.authentication-failed', error })
      return undefined
    }
  }

  const answer = async (request: Request): Promise<Response> => {
    const url = new URL(request.url)
    const { method } = request
    const path =
      url.pathname.startsWith(`${basePath}/`) || url.pathname === basePath
        ? url.pathname.slice(basePath.length)
        : undefined
    const parts = path === undefined ? undefined : partsOf(path)
    if (isClosed) return notice(desk, 503, 'Closed', 'The inbox is shutting down. Try again in a moment.')
    if (path === undefined || parts === undefined) return notice(desk, 404, 'Not found', 'There is no such page.')
    if (method !== 'GET' && method !== 'HEAD' && method !== 'POST') {
      return textAnswer(405, 'method not allowed', { allow: 'GET, HEAD, POST' })
    }
    // Needed by the page that says who is not signed in, and no secret.
    if (parts[0] === 'assets' && method !== 'POST') {
      return assets.answer(parts[1] ?? '') ?? textAnswer(404, 'not found')
    }
    const visitor = await visitorFrom(request)
    if (visitor === undefined) return signInAnswer(site, signIn, request)
    try {
      const found =
        method === 'POST'
          ? await formOf(desk, request, visitor, path).then((form) =>
              form instanceof Response ? form : act(visitor, parts, form)
            )
          : await read(request, url, visitor, parts)
      return found ?? notice(desk, 404, 'Not found', 'There is no such page.', visitor)
    } catch (error) {
      // A cursor or an id that nobody was given, or a request that is gone by now.
      if (isSuiteError(error, 'INVALID_OPTIONS'))
        return notice(desk, 400, 'Not understood', 'Nothing was done.', visitor)
      if (isSuiteError(error, 'UNKNOWN_REQUEST')) return notFound(desk, visitor)
      report({ type: 'inbox.failed', method, path, error })
      const text =
        method === 'POST'
          ? 'It is not known whether this was done. Load this page again to send the same once more: it is done once.'
          : 'The requests could not be read. Try again in a moment.'
      return notice(desk, 503, 'No answer', text, visitor)
    }
  }

  const close = async (): Promise<void> => {
    isClosed = true
    live.close()
  }

  return {
    async handle(request) {
      const answered = await answer(request)
      return request.method === 'HEAD' ? new Response(null, answered) : answered
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

/** What a path is made of, decoded: `/requests/7/edit` is `['requests', '7', 'edit']`; undefined when it is malformed. */
function partsOf(path: string): readonly string[] | undefined {
  const parts = path.replace(/^\//, '').split('/')
  try {
    const decoded = parts.map((part) => decodeURIComponent(part))
    return decoded.some((part) => part.length > REQUEST_ID_LENGTH_MAX) ? undefined : decoded
  } catch {
    return undefined
  }
}
