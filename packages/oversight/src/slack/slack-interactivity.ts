import {
  createTimeout,
  isSuiteError,
  type JsonObject,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import { z } from 'zod'
import type { VerdictNotice } from '../channel/channel.ts'
import type { OversightCalls, VoteAnswer } from '../oversight-calls.ts'
import type { RequestView } from '../request/request-view.ts'
import { boundedBody } from './bounded-body.ts'
import { createReplayMemory } from './replay-memory.ts'
import { createResponder, type Responder } from './response-url.ts'
import { createSlackApi, type SlackApi, type SlackFetch, type SlackToken } from './slack-api.ts'
import type { SlackEvent } from './slack-event.ts'
import { ballotForm, DECISION, lateForm, noteForm, REASON, REASON_LENGTH_MAX } from './slack-form.ts'
import { type Click, readInteraction, type SlackUser, type Submission } from './slack-interaction.ts'
import type { SlackLimits } from './slack-limits.ts'
import { verdictMessage, verdictTitle, votedMessage } from './slack-message.ts'
import {
  changed,
  DECISION_WANTED,
  FAILED,
  NO_FORM,
  NOT_MAPPED,
  NOT_THEIRS,
  noteOn,
  REASON_WANTED,
  UNKNOWN
} from './slack-note.ts'
import { API_URL, apiUrlSchema, functionSchema, objectWith } from './slack-options.ts'
import { checkSignature } from './slack-signature.ts'
import { escaped, shown } from './slack-text.ts'

/** The app in one workspace. */
export interface SlackWorkspace {
  readonly token: SlackToken
  /** As those of the channel: forms are opened within them. */
  readonly limits: SlackLimits
}

export interface SlackInteractivityOptions {
  /** The app's signing secret; two while it is rotated. What is signed with any of them is taken. */
  readonly signingSecrets: readonly string[]
  readonly oversight: Pick<OversightCalls, 'decide' | 'inspect'>
  /**
   * Which approver a Slack user is; undefined for nobody's. It is asked for everything that somebody does, so that a change
   * counts at once. A user id alone is not enough: another workspace may have the same.
   */
  readonly people: (user: SlackUser) => string | undefined | Promise<string | undefined>
  /**
   * The app in the workspace of this team id, or in the organisation of this enterprise id; undefined where it has no
   * business. What comes from there is turned away.
   */
  readonly workspace: (id: string) => SlackWorkspace | undefined | Promise<SlackWorkspace | undefined>
  /**
   * For hosts that end with the response: is given what still goes on then. Otherwise messages that the votes change may
   * never be changed.
   */
  readonly waitUntil?: (work: Promise<void>) => void
  /** `https://slack.com/api/` unless given. */
  readonly apiUrl?: string
  readonly fetch?: SlackFetch
  readonly platform?: Platform
  readonly observe?: (event: SlackEvent) => void
}

/** Slack gives 3 s, for the answer and for the form alike; the network needs some of that. */
const ANSWER_MS = 2_500

/** Slack sends the message along, which has 40,000 characters at most, each up to nine in a form. */
const BODY_BYTES_MAX = 524_288

/** Slack's bound on the text of a section, which a note never needs. */
const NOTE_LENGTH_MAX = 3_000

const optionsSchema: z.ZodType<SlackInteractivityOptions> = z.strictObject({
  signingSecrets: z.array(z.string().min(16).max(256)).min(1).max(5),
  oversight: objectWith<Pick<OversightCalls, 'decide' | 'inspect'>>('oversight', 'decide', 'inspect'),
  people: functionSchema<SlackInteractivityOptions['people']>(),
  workspace: functionSchema<SlackInteractivityOptions['workspace']>(),
  waitUntil: functionSchema<(work: Promise<void>) => void>().exactOptional(),
  apiUrl: apiUrlSchema.exactOptional(),
  fetch: functionSchema<SlackFetch>().exactOptional(),
  platform: objectWith<Platform>('a platform', 'clock', 'random').exactOptional(),
  observe: functionSchema<(event: SlackEvent) => void>().exactOptional()
})

/** What came of what somebody did. `note` is what they are told; `rewrite` brings the message up to date. */
type Handled =
  | { readonly outcome: 'counted'; readonly note?: string; readonly rewrite?: () => Promise<void> }
  | { readonly outcome: 'not-counted'; readonly note: string; readonly rewrite?: () => Promise<void> }
  | { readonly outcome: 'form-opened' }
  /** A form that is not filled in: what is wanted, by field. */
  | { readonly outcome: 'incomplete'; readonly errors: { readonly [field: string]: string } }
  /** From a workspace that has no business here, or it could not be found out. */
  | { readonly outcome: 'turned-away'; readonly status: 401 | 503 }

const notCounted = (note: string): Handled => ({ outcome: 'not-counted', note })

/**
 * Answers what people do with the messages of `slackChannel`: the handler for the app's Interactivity Request URL, which
 * takes a web `Request` and gives a `Response`. It believes nothing but Slack's signature over the bytes as they came, not
 * older or newer than five minutes. Then whoever clicked is looked up, must be the one whom the invitation was for, and
 * votes as themselves: `oversight.decide` has the last word on whether they may, at that moment.
 *
 * 401 for what is not signed, too old, too new, was here before or comes from a workspace without business here; 400 for
 * what makes no sense; 405 and 413; otherwise 200, which is also for interactions of others. Nothing says why. Throws
 * `INVALID_OPTIONS` (core).
 */
export function slackInteractivity(options: SlackInteractivityOptions): (request: Request) => Promise<Response> {
  const parsed = parseOptions(optionsSchema, 'slackInteractivity', options)
  const { signingSecrets, oversight, people, workspace, waitUntil } = parsed
  const { apiUrl = API_URL, fetch = globalThis.fetch, platform = systemPlatform } = parsed
  const { clock } = platform
  const report = reporter(parsed.observe)
  const respond = createResponder({ apiUrl, fetch, platform })
  const answering = createTimeout({ timeoutMs: ANSWER_MS, platform })
  const isFirst = createReplayMemory(clock)

  const turnAway = (
    status: number,
    because: Extract<SlackEvent, { type: 'slack.turned-away' }>['because']
  ): Response => {
    report({ type: 'slack.turned-away', because })
    return new Response(null, { status })
  }

  /** Work that may outlast the answer. It reports its own failure. */
  const background = (requestId: string, work: () => Promise<void>): void => {
    const done = work().catch((error: unknown) => report({ type: 'slack.failed', requestId, what: 'note', error }))
    waitUntil?.(done)
  }

  const tell = ({ responseUrl }: Click | Submission, note: string): Promise<void> =>
    responseUrl === undefined ? Promise.resolve() : respond(responseUrl, ephemeral(note))

  /** Who this is, when the invitation was for them; otherwise why nothing is counted. */
  const approverOf = async ({ user, value }: Click | Submission): Promise<{ approver: string } | { note: string }> => {
    const approver = await people(user)
    if (approver !== undefined && approver === value.approver) return { approver }
    const because = approver === undefined ? 'not-mapped' : 'not-theirs'
    report({ type: 'slack.stranger', requestId: value.requestId, ...user, because })
    return { note: because === 'not-mapped' ? NOT_MAPPED : NOT_THEIRS }
  }

  const vote = async (
    { value, idempotencyKey, responseUrl }: Click | Submission,
    ballot: { readonly approver: string; readonly decision: 'approve' | 'deny'; readonly reason: string },
    single: boolean
  ): Promise<Handled> => {
    const { requestId, argumentHash = '' } = value
    const { approver, decision, reason } = ballot
    const by = { approver, idempotencyKey, argumentHash }
    const answer = await oversight.decide(
      requestId,
      decision === 'deny' ? { ...by, decision, reason } : { ...by, decision, ...(reason === '' ? {} : { reason }) }
    )
    report({ type: 'slack.voted', requestId, approver, decision, outcome: answer.outcome })
    const note = noteOn(answer)
    const rewrites = single && responseUrl !== undefined && answer.outcome !== 'not-authorized'
    const message = rewrites
      ? { rewrite: () => bringUpToDate({ respond, oversight, responseUrl, requestId, answer, decision }) }
      : {}
    if (note !== undefined) return { outcome: 'not-counted', note, ...message }
    // A digest's message stays as it is until there is a verdict.
    return rewrites ? { outcome: 'counted', ...message } : { outcome: 'counted', note: ON_RECORD[decision] }
  }

  const openForm = async (click: Click, api: SlackApi, signal: AbortSignal): Promise<Handled> => {
    const { value, button, triggerId, responseUrl } = click
    const view = await oversight.inspect(value.requestId)
    if (view.verdict !== undefined) return notCounted(`Too late: ${verdictTitle(view.verdict)}.`)
    const { argumentHash, version } = view
    if (value.argumentHash !== undefined && value.argumentHash !== argumentHash) return notCounted(changed(version))
    if (triggerId === undefined) return notCounted(NO_FORM)
    const form = ballotForm(view, {
      value: { requestId: value.requestId, approver: value.approver, argumentHash },
      single: button === 'deny',
      url: responseUrl
    })
    const reply = await api.call('views.open', { trigger_id: triggerId, view: form }, { signal, waitMaxMs: 0 })
    return reply.outcome === 'ok' ? { outcome: 'form-opened' } : notCounted(NO_FORM)
  }

  const clicked = async (click: Click, api: SlackApi, signal: AbortSignal): Promise<Handled> => {
    const who = await approverOf(click)
    if ('note' in who) return notCounted(who.note)
    if (click.button === 'approve') return vote(click, { ...who, decision: 'approve', reason: '' }, true)
    try {
      return await openForm(click, api, signal)
    } catch (error) {
      if (isSuiteError(error, 'UNKNOWN_REQUEST')) return notCounted(UNKNOWN)
      report({ type: 'slack.failed', requestId: click.value.requestId, what: 'form', error })
      return notCounted(NO_FORM)
    }
  }

  const submitted = async (form: Submission): Promise<Handled> => {
    const who = await approverOf(form)
    if ('note' in who) return notCounted(who.note)
    const { decision, single } = form
    const reason = shown(form.reason).trim().slice(0, REASON_LENGTH_MAX).toWellFormed()
    if (decision === undefined) return { outcome: 'incomplete', errors: { [DECISION]: DECISION_WANTED } }
    if (decision === 'deny' && reason === '') return { outcome: 'incomplete', errors: { [REASON]: REASON_WANTED } }
    return vote(form, { ...who, decision, reason }, single)
  }

  const handle = async (doing: Click | Submission, signal: AbortSignal): Promise<Handled> => {
    const { requestId } = doing.value
    let installed: SlackWorkspace | undefined
    try {
      installed = await workspace(doing.workspace)
    } catch (error) {
      report({ type: 'slack.failed', requestId, what: 'vote', error })
      return { outcome: 'turned-away', status: 503 }
    }
    if (installed === undefined) {
      report({ type: 'slack.turned-away', because: 'workspace' })
      return { outcome: 'turned-away', status: 401 }
    }
    try {
      if (doing.kind === 'submission') return await submitted(doing)
      return await clicked(doing, createSlackApi({ ...installed, apiUrl, fetch, platform, report }), signal)
    } catch (error) {
      if (isSuiteError(error, 'UNKNOWN_REQUEST')) return notCounted(UNKNOWN)
      report({ type: 'slack.failed', requestId, what: 'vote', error })
      return notCounted(FAILED)
    }
  }

  /** Tells what came of it where the click was, once Slack has its answer. */
  const follow = (doing: Click | Submission, handled: Handled): void => {
    const { requestId } = doing.value
    if (handled.outcome === 'form-opened' || handled.outcome === 'turned-away') return
    const note = handled.outcome === 'incomplete' ? Object.values(handled.errors).join(' ') : handled.note
    if (note !== undefined) background(requestId, () => tell(doing, note))
    if (handled.outcome !== 'incomplete' && handled.rewrite !== undefined) background(requestId, handled.rewrite)
  }

  /** The answer to Slack, within the time that it gives; what is not done by then goes on, and is told afterwards. */
  const answerTo = async (doing: Click | Submission): Promise<Response> => {
    const { requestId } = doing.value
    let handling: Promise<Handled> | undefined
    let handled: Handled
    try {
      handled = await answering.execute(({ signal }) => {
        handling = handle(doing, signal)
        return handling
      })
    } catch {
      background(requestId, async () => {
        if (handling !== undefined) follow(doing, await handling)
      })
      return doing.kind === 'click' ? accepted() : Response.json({ response_action: 'update', view: lateForm() })
    }
    if (handled.outcome === 'turned-away') return new Response(null, { status: handled.status })
    if (doing.kind === 'submission' && handled.outcome === 'incomplete') {
      return Response.json({ response_action: 'errors', errors: handled.errors })
    }
    if (doing.kind === 'submission' && handled.outcome === 'not-counted') {
      if (handled.rewrite !== undefined) background(requestId, handled.rewrite)
      return Response.json({ response_action: 'update', view: noteForm(handled.note) })
    }
    follow(doing, handled)
    return accepted()
  }

  return async (request) => {
    if (request.method !== 'POST') return new Response(null, { status: 405, headers: { allow: 'POST' } })
    if (Number(request.headers.get('content-length') ?? 0) > BODY_BYTES_MAX) return turnAway(413, 'too-large')
    const body = await boundedBody(request.body, BODY_BYTES_MAX)
    if (body === undefined) return turnAway(413, 'too-large')
    const timestamp = request.headers.get('x-slack-request-timestamp')
    const signature = request.headers.get('x-slack-signature')
    const checked = checkSignature({ timestamp, signature, body }, signingSecrets, clock.now())
    if (checked !== 'sound') return turnAway(401, checked)
    const payload = new URLSearchParams(new TextDecoder().decode(body)).get('payload')
    const doing = payload === null ? 'malformed' : readInteraction(payload)
    if (doing === 'malformed') return turnAway(400, 'malformed')
    if (doing === 'foreign') return accepted()
    if (!isFirst(doing.key)) return turnAway(401, 'replayed')
    return answerTo(doing)
  }
}

const accepted = (): Response => new Response(null)

const ON_RECORD = {
  approve: 'Your vote is on record: approved.',
  deny: 'Your vote is on record: denied.'
} as const

/** Only this person sees it. */
const ephemeral = (note: string): JsonObject => ({
  response_type: 'ephemeral',
  replace_original: false,
  text: escaped(shown(note), NOTE_LENGTH_MAX)
})

/**
 * Takes the buttons off the message that was used, at once. The kernel's own update comes later and says the same; should a
 * verdict fall while this is under way, it is looked for once more, or this would be written over that.
 */
async function bringUpToDate(work: {
  readonly respond: Responder
  readonly oversight: Pick<OversightCalls, 'inspect'>
  readonly responseUrl: string
  readonly requestId: string
  readonly answer: VoteAnswer
  readonly decision: 'approve' | 'deny'
}): Promise<void> {
  const { respond, oversight, responseUrl, requestId, answer } = work
  const decision = answer.outcome === 'already-decided' ? answer.decision : work.decision
  const replace = async (view: RequestView): Promise<void> => {
    const { verdict, version } = view
    const standing: VerdictNotice['verdict'] | undefined =
      verdict ?? (answer.outcome === 'superseded' ? { outcome: 'superseded', requestId, version } : undefined)
    const { text, blocks } = standing === undefined ? votedMessage(view, decision) : verdictMessage(view, standing)
    await respond(responseUrl, { replace_original: true, text, blocks })
  }
  const view = await oversight.inspect(requestId)
  await replace(view)
  if (view.verdict !== undefined) return
  const later = await oversight.inspect(requestId)
  if (later.verdict !== undefined) await replace(later)
}
