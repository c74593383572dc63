import { isSuiteError, type JsonObject, type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { Invitation } from '../channel/channel.ts'
import type { OversightCalls } from '../oversight-calls.ts'
import { isAtLeast, RISKS, type Risk } from '../policy/risk.ts'
import type { RequestView } from '../request/request-view.ts'
import { createFormSeals } from './form-seal.ts'
import type { LinkEvent, LinkRefusal } from './link-event.ts'
import {
  APPROVAL_WORD,
  answerPage,
  documentOf,
  type FilledForm,
  formPage,
  type LinkPage,
  noticePage,
  PAGE_HEADERS,
  REASON_LENGTH_MAX,
  settledPage,
  supersededPage,
  votedPage
} from './link-page.ts'
import { type LinkClaims, type LinkKey, type LinkVerb, linkKeysSchema, linkSeals, nonceOf } from './link-token.ts'
import { isFromPage, readSubmission } from './submission.ts'

export interface DecisionLinksOptions {
  /** Where `handle` is reached from outside, such as `https://approvals.example.com/decide`; a token follows it. */
  readonly baseUrl: string
  /** The first signs, all of them verify: put a new one first, and keep the old one until its links have expired. */
  readonly keys: readonly LinkKey[]
  readonly oversight: Pick<OversightCalls, 'decide' | 'inspect' | 'viewed'>
  /**
   * The risk from which a link alone shows and decides nothing: who opens it must be signed in as the approver it was
   * sent to. Mail is forwarded, and mailboxes are read by others.
   */
  readonly sessionFrom: Risk
  /**
   * The approver who is signed in, by the request's headers; undefined for nobody. Its body is not to be read. Without
   * it, and when it throws, nothing can be decided from `sessionFrom` on.
   */
  readonly session?: (request: Request, claims: LinkClaims) => Promise<string | undefined>
  /** Where people sign in, or decide otherwise: pages that a link alone is not enough for lead there. */
  readonly signInUrl?: string
  /** How long links are good for; 7 days unless given, at most 90. What they are for may end sooner. */
  readonly ttlMs?: number
  /** As much of a detail as an approver may see; all of it unless given. A vote binds all of it either way. */
  readonly detailOf?: (view: RequestView, claims: LinkClaims) => JsonObject
  readonly platform?: Platform
  /** What it throws is dropped: a report must not cost the page. */
  readonly observe?: (event: LinkEvent) => void
}

/** What an invitation must have to be linked to. */
export type LinkedInvitation = Pick<Invitation, 'id' | 'requestId' | 'tenant' | 'argumentHash'> & {
  readonly approver: { readonly id: string }
}

/** Links that people decide by, and that machines which follow links do not. */
export interface DecisionLinks {
  /** All three lead to the same page. Throws `INVALID_OPTIONS` when names are so long that a link would not be read. */
  linksOf(invitation: LinkedInvitation): { readonly open: string; readonly approve: string; readonly deny: string }
  /** Answers what comes to `baseUrl`. Does not reject. */
  handle(request: Request): Promise<Response>
}

const DAY_MS = 86_400_000
const TTL_MS = 7 * DAY_MS
const TTL_MAX_MS = 90 * DAY_MS

const isFunction = (value: unknown): boolean => typeof value === 'function'

const optionsSchema: z.ZodType<DecisionLinksOptions> = z.strictObject({
  baseUrl: z.string().refine(isBaseUrl, 'must be an https URL (http on the loopback) without query and fragment'),
  keys: linkKeysSchema,
  oversight: z.custom<DecisionLinksOptions['oversight']>(
    (value) => typeof value === 'object' && value !== null && 'decide' in value
  ),
  sessionFrom: z.enum(RISKS),
  session: z.custom<NonNullable<DecisionLinksOptions['session']>>(isFunction, 'must be a function').exactOptional(),
  signInUrl: z.url({ protocol: /^https?$/ }).exactOptional(),
  ttlMs: z.number().min(1_000).max(TTL_MAX_MS).exactOptional(),
  detailOf: z.custom<NonNullable<DecisionLinksOptions['detailOf']>>(isFunction, 'must be a function').exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: LinkEvent) => void>(isFunction, 'must be a function').exactOptional()
})

/**
 * Signed links for messages. Mail scanners open links, run scripts and send forms, so a GET or HEAD never decides,
 * whatever the link says: it shows a page, and a choice made on it and sent from it decides. The link names an
 * invitation; whether its approver may decide is found anew by `oversight.decide`. Throws `INVALID_OPTIONS`.
 */
export function createDecisionLinks(options: DecisionLinksOptions): DecisionLinks {
  const parsed = parseOptions(optionsSchema, 'createDecisionLinks', options)
  const { oversight, session, sessionFrom, signInUrl, ttlMs = TTL_MS, detailOf, platform = systemPlatform } = parsed
  const { clock } = platform
  const { origin } = new URL(parsed.baseUrl)
  const base = parsed.baseUrl.replace(/\/+$/, '')
  const seals = linkSeals(parsed.keys)
  const forms = createFormSeals(seals, clock)
  const report = reporter(parsed.observe)

  const turnAway = (because: LinkRefusal, page: LinkPage, claims?: LinkClaims): LinkPage => {
    report({ type: 'link.refused', because, ...(claims === undefined ? {} : { requestId: claims.requestId }) })
    return page
  }

  const inspect = async ({ requestId, tenant }: LinkClaims): Promise<RequestView | undefined> => {
    try {
      const view = await oversight.inspect(requestId)
      return view.tenant === tenant ? view : undefined
    } catch (error) {
      if (isSuiteError(error, 'UNKNOWN_REQUEST')) return undefined
      throw error
    }
  }

  const elsewhere = signInUrl === undefined ? undefined : { href: signInUrl, text: 'Sign in' }
  const sessionPage = noticePage(
    403,
    'Sign in to decide this',
    'This link alone is not enough for it: sign in as the person whom the message was sent to, and open it again.',
    elsewhere
  )

  /** Everything that is asked before a link is believed, and the request that it leads to. */
  const admit = async (request: Request): Promise<Admitted | LinkPage> => {
    const token = new URL(request.url).pathname.split('/').at(-1) ?? ''
    const opened = seals.open(token, clock.now())
    if (opened.outcome === 'forged') return turnAway('forged', unknownPage)
    const { claims } = opened
    if (opened.outcome === 'expired') return turnAway('expired', expiredPage, claims)
    const view = await inspect(claims)
    if (view === undefined) return turnAway('unknown-request', unknownPage, claims)
    const needsSession = isAtLeast(view.risk, sessionFrom)
    if (needsSession && (await session?.(request, claims)) !== claims.approver)
      return turnAway('session', sessionPage, claims)
    return { claims, view, purpose: needsSession ? `${token} in a session` : token }
  }

  /** What an approver sees of a request: the form if there is something to decide with this very link. */
  const pageOf = (admitted: Admitted, again?: { readonly filled: FilledForm; readonly problem: string }): LinkPage => {
    const { claims, view, purpose } = admitted
    if (!view.seats.some(({ approver }) => approver === claims.approver))
      return turnAway('not-asked', notAskedPage, claims)
    if (view.status !== 'pending') return settledPage(view)
    if (view.argumentHash !== claims.argumentHash) return supersededPage
    const vote = view.votes.find(({ approver }) => approver === claims.approver)
    if (vote !== undefined) return votedPage(view, vote)
    const shown = detailOf === undefined ? view : { ...view, detail: detailOf(view, claims) }
    return formPage({ view: shown, verb: claims.verb, seal: forms.issue(purpose), ...again })
  }

  /**
   * Puts on record that the approver had the request before their eyes: who sends its form back has had it, while a page
   * that was only fetched may have been shown to nobody. The vote does not wait for it to succeed.
   */
  const noteViewed = async ({ claims, view }: Admitted): Promise<void> => {
    if (detailOf !== undefined || view.argumentHash !== claims.argumentHash) return
    try {
      // Named, so that an edit meanwhile is not taken for what they have seen.
      await oversight.viewed(claims.requestId, { by: claims.approver, argumentHash: claims.argumentHash })
    } catch (error) {
      report({ type: 'link.failed', error })
    }
  }

  const show = async (request: Request): Promise<LinkPage> => {
    const admitted = await admit(request)
    return 'main' in admitted ? admitted : pageOf(admitted)
  }

  const decide = async (request: Request): Promise<LinkPage> => {
    if (!isFromPage(request, origin)) return turnAway('cross-site', otherSitePage)
    const admitted = await admit(request)
    if ('main' in admitted) return admitted
    const { claims, view, purpose } = admitted
    const submission = await readSubmission(request)
    if (submission.outcome === 'refused') return turnAway('form', unreadablePage(submission.status), claims)
    const { seal, filled } = submission
    if (!forms.isGood(seal, purpose)) return turnAway('form', staleFormPage, claims)
    const { decision, reason } = filled
    const problem = problemIn(filled, view.risk)
    if (problem !== undefined || decision === undefined) return pageOf(admitted, { filled, problem: problem ?? '' })

    await noteViewed(admitted)
    const { requestId, tenant, approver, argumentHash, nonce } = claims
    const ballot = { approver, argumentHash, idempotencyKey: `link:${nonce}` }
    const answer = await oversight.decide(
      requestId,
      decision === 'deny'
        ? { ...ballot, decision, reason }
        : { ...ballot, decision, ...(reason === '' ? {} : { reason }) }
    )
    report({ type: 'link.decided', requestId, tenant, approver, decision, outcome: answer.outcome })
    return answerPage(answer, decision)
  }

  const answer = async (request: Request): Promise<Response> => {
    switch (request.method) {
      case 'HEAD':
        return new Response(null, { headers: PAGE_HEADERS })
      case 'GET':
        return responseOf(await show(request))
      case 'POST':
        return responseOf(await decide(request))
      default:
        return responseOf(turnAway('method', noticePage(405, 'Not here', 'Open the link in a browser.')), {
          allow: 'GET, HEAD, POST'
        })
    }
  }

  const linkOf = (invitation: LinkedInvitation, verb: LinkVerb): string => {
    const { id, requestId, tenant, argumentHash, approver } = invitation
    const expiresAt = clock.now() + ttlMs
    return `${base}/${seals.seal({ requestId, tenant, approver: approver.id, argumentHash, verb, expiresAt, nonce: nonceOf(id) })}`
  }

  return {
    linksOf: (invitation) => ({
      open: linkOf(invitation, 'open'),
      approve: linkOf(invitation, 'approve'),
      deny: linkOf(invitation, 'deny')
    }),
    async handle(request) {
      try {
        return await answer(request)
      } catch (error) {
        report({ type: 'link.failed', error })
        return responseOf(request.method === 'POST' ? unsurePage : unavailablePage)
      }
    }
  }
}

/** A link that is believed, and the request that it leads to. */
interface Admitted {
  readonly claims: LinkClaims
  readonly view: RequestView
  /** What a form on its page is sealed for: one that was shown in a session is good in a session alone. */
  readonly purpose: string
}

/** What no text that goes on record may hold; `oversight.decide` refuses it. */
const REORDERING = /[\u202a-\u202e\u2066-\u2069]/

/** What keeps a form from being a decision: nothing that fills in and sends forms without reading may get through. */
function problemIn({ decision, reason, word }: FilledForm, risk: Risk): string | undefined {
  if (decision === undefined) return 'Choose whether to approve or to deny.'
  if (reason.length > REASON_LENGTH_MAX) return `Shorten the reason to ${REASON_LENGTH_MAX} characters.`
  if (REORDERING.test(reason)) return 'Take out of the reason what reorders the text around it: it is shown there now.'
  if (decision === 'deny') return reason === '' ? 'Say why you deny it.' : undefined
  const isTyped = !isAtLeast(risk, 'high') || word.toLowerCase() === APPROVAL_WORD
  return isTyped ? undefined : `To approve, type the word ${APPROVAL_WORD}.`
}

function responseOf(page: LinkPage, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(documentOf(page), { status: page.status, headers: { ...PAGE_HEADERS, ...headers } })
}

function isBaseUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '' || /[?#]/.test(text)) return false
  return (
    url.protocol === 'https:' ||
    (url.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname))
  )
}

/** The same for what was forged and for what is not there, so that nothing is learnt by trying. */
const unknownPage = noticePage(404, 'There is nothing here', 'This link leads nowhere. Was it cut when it was copied?')
const expiredPage = noticePage(410, 'This link has expired', 'Open the newest message about the request.')
const notAskedPage = noticePage(403, 'You are not asked', 'You are not, or no longer, among those who decide this.')
const otherSitePage = noticePage(
  403,
  'Nothing was decided',
  'A decision is only taken from the page that the link opens.'
)
const staleFormPage = noticePage(
  403,
  'Nothing was decided',
  'The page had been open for too long, or was not yours. Open the link again.',
  { href: '', text: 'Open it again' }
)
const unreadablePage = (status: number): LinkPage =>
  noticePage(status, 'Nothing was decided', 'What was sent is not the form of this page.')
const unavailablePage = noticePage(503, 'Not now', 'The request could not be looked up. Try again in a moment.')
const unsurePage = noticePage(
  503,
  'It is not known whether that was recorded',
  'Open the link again in a moment: it shows what was recorded, and sending the same again counts once.',
  { href: '', text: 'Open it again' }
)
