import {
  createSingleFlight,
  isSuiteError,
  type JsonObject,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import type { Addressee, Channel, DeliveryOutcome, VerdictNotice } from '../channel/channel.ts'
import type { OversightCalls } from '../oversight-calls.ts'
import { createSlackApi, type SlackFetch, type SlackReply, type SlackToken } from './slack-api.ts'
import { isPastUpdate, isUnreachable, isWithoutDuplicate, isWithoutThread, slackFailure } from './slack-error.ts'
import type { SlackEvent } from './slack-event.ts'
import type { SlackLimits, SlackMethod } from './slack-limits.ts'
import {
  type DigestEntry,
  digestEntries,
  digestMessage,
  type InboxUrl,
  invitationMessage,
  reminderMessage,
  type SlackMessage,
  verdictMessage
} from './slack-message.ts'
import { API_URL, apiUrlSchema, functionSchema, objectWith } from './slack-options.ts'
import { decodeReceipt, encodeReceipt, type SlackReceipt } from './slack-receipt.ts'

export interface SlackChannelOptions {
  /** Of the app in this workspace, with the scopes `chat:write` and `im:write`. */
  readonly token: SlackToken
  /** `slackLimits`, or buckets of your own. */
  readonly limits: SlackLimits
  /**
   * What becomes of an invitation that Slack's limits leave no room for within `waitMaxMs`. `postpone`: it is delivered
   * here later, and with others in one message once five wait. `fall-back`: its approver counts as unreachable here, and is
   * asked on the entry's next channel, such as e-mail.
   */
  readonly overLimit: 'postpone' | 'fall-back'
  /** How long a delivery waits for its turn before that; 2 s unless given, at most 8 s, for it may take 10 s in all. */
  readonly waitMaxMs?: number
  /**
   * How a digest's message learns what became of its requests: `(id) => oversight.inspect(id)`. Without it the channel has
   * no digests, and each invitation is a message of its own.
   */
  readonly inspect?: OversightCalls['inspect']
  /** Where an approver sees all of a request. Messages have no link without it. */
  readonly inboxUrl?: InboxUrl
  /** `https://slack.com/api/` unless given. */
  readonly apiUrl?: string
  readonly fetch?: SlackFetch
  readonly platform?: Platform
  readonly observe?: (event: SlackEvent) => void
}

const WAIT_MS = 2_000
/** An attempt may take 10 s; the calls themselves need some of that. */
const WAIT_MAX_MS = 8_000

const optionsSchema: z.ZodType<SlackChannelOptions> = z.strictObject({
  token: z.union([z.string().min(1).max(1_024), functionSchema<() => string | Promise<string>>()]),
  limits: objectWith<SlackLimits>('limits', 'chat.postMessage', 'chat.update', 'conversations.open'),
  overLimit: z.enum(['postpone', 'fall-back']),
  waitMaxMs: z.number().min(0).max(WAIT_MAX_MS).exactOptional(),
  inspect: functionSchema<OversightCalls['inspect']>().exactOptional(),
  inboxUrl: functionSchema<InboxUrl>().exactOptional(),
  apiUrl: apiUrlSchema.exactOptional(),
  fetch: functionSchema<SlackFetch>().exactOptional(),
  platform: objectWith<Platform>('a platform', 'clock', 'random').exactOptional(),
  observe: functionSchema<(event: SlackEvent) => void>().exactOptional()
})

/** A user, `U…` or `W…`, who is written to directly, or a conversation, `C…`, `G…` or `D…`. */
const ADDRESS = /^[UWCGD][A-Z0-9]{2,63}$/
const USER = /^[UW]/

/** Direct conversations that are remembered; they never change, and each takes some 100 bytes. */
const CONVERSATIONS_MAX = 10_000

/** Digests of which it is remembered what they say; each takes some kB. One that is forgotten is written once more. */
const DIGESTS_MAX = 1_000

/** Verdicts are not urgent and cannot be postponed: they take what an attempt has. */
const UPDATE_WAIT_MS = WAIT_MAX_MS

type Unreachable = Extract<DeliveryOutcome, { readonly outcome: 'unreachable' }>
type Opened = { readonly outcome: 'open'; readonly channelId: string } | Exclude<SlackReply, { readonly outcome: 'ok' }>

/**
 * Asks approvers in Slack. Their address is a user id or, for a conversation that several read, its id: whoever clicks is
 * looked up by `slackInteractivity`, and being in the conversation permits nothing. All workers of a workspace need the
 * same `limits`. Throws `INVALID_OPTIONS` (core).
 *
 * Calls throw `CHANNEL_FAILED` when Slack fails or gives no answer, `CHANNEL_UNAUTHORIZED` when it does not accept the
 * token, and what `limits` throw.
 */
export function slackChannel(options: SlackChannelOptions): Channel {
  const parsed = parseOptions(optionsSchema, 'slackChannel', options)
  const { token, limits, overLimit, waitMaxMs = WAIT_MS, inspect, inboxUrl } = parsed
  const { apiUrl = API_URL, fetch = globalThis.fetch, platform = systemPlatform } = parsed
  const report = reporter(parsed.observe)
  const api = createSlackApi({ token, limits, apiUrl, fetch, platform, report })
  const conversations = new Map<string, string>()
  const openings = createSingleFlight<Opened>()
  const digests = rewrittenDigests()

  const overLimitOf = (method: SlackMethod, afterMs: number): DeliveryOutcome => {
    const reason = `Slack's limit of ${method} is used up`
    return overLimit === 'postpone' ? { outcome: 'postponed', reason, afterMs } : { outcome: 'unreachable', reason }
  }

  const openConversation = async (user: string, signal: AbortSignal, waitMs: number): Promise<Opened> => {
    const reply = await api.call(
      'conversations.open',
      { users: user },
      { signal, waitMaxMs: waitMs, expects: isUnreachable }
    )
    if (reply.outcome !== 'ok') return reply
    const { id } = (reply.body['channel'] ?? {}) as { readonly id?: unknown }
    if (typeof id !== 'string' || !ADDRESS.test(id)) throw slackFailure('conversations.open', 'NO_CONVERSATION')
    if (conversations.size >= CONVERSATIONS_MAX) conversations.delete(conversations.keys().next().value as string)
    conversations.set(user, id)
    return { outcome: 'open', channelId: id }
  }

  /** The conversation to write to. Those who ask for the same person at once share one call. */
  const conversationOf = async (address: string, signal: AbortSignal, waitMs: number): Promise<Opened> => {
    if (!USER.test(address)) return { outcome: 'open', channelId: address }
    const channelId = conversations.get(address)
    if (channelId !== undefined) return { outcome: 'open', channelId }
    return openings.run(address, () => openConversation(address, signal, waitMs), { signal })
  }

  const post = async (
    channelId: string,
    message: SlackMessage,
    { id, threadTs, signal }: { readonly id: string; readonly threadTs?: string; readonly signal: AbortSignal }
  ): Promise<SlackReply> => {
    const args: JsonObject = {
      ...messageArgs(channelId, message),
      unfurl_links: false,
      unfurl_media: false,
      ...(threadTs === undefined ? {} : { thread_ts: threadTs })
    }
    const expects = (error: string): boolean =>
      isUnreachable(error) || isWithoutDuplicate(error) || (threadTs !== undefined && isWithoutThread(error))
    const call = (more: JsonObject): Promise<SlackReply> =>
      api.call('chat.postMessage', { ...args, ...more }, { signal, waitMaxMs, expects })
    const reply = await call({ client_msg_id: clientMessageId(id, channelId) })
    // What an earlier attempt posted under this id has been deleted since.
    return reply.outcome === 'refused' && isWithoutDuplicate(reply.error) ? call({}) : reply
  }

  /** Posts to the first of the approver's addresses that takes it. */
  const postTo = async (
    approver: Addressee,
    message: SlackMessage,
    {
      id,
      signal,
      requestIds
    }: { readonly id: string; readonly signal: AbortSignal; readonly requestIds?: readonly string[] }
  ): Promise<DeliveryOutcome> => {
    let unreachable: Unreachable = { outcome: 'unreachable', reason: NO_ADDRESS }
    for (const address of [approver.address, ...approver.alternatives]) {
      if (!ADDRESS.test(address)) continue
      const opened = await conversationOf(address, signal, waitMaxMs)
      if (opened.outcome === 'limited') return overLimitOf('conversations.open', opened.retryAfterMs)
      const reply = opened.outcome === 'open' ? await post(opened.channelId, message, { id, signal }) : opened
      if (reply.outcome === 'limited') return overLimitOf('chat.postMessage', reply.retryAfterMs)
      if (reply.outcome === 'ok') return delivered(reply.body, requestIds)
      conversations.delete(address)
      unreachable = { outcome: 'unreachable', reason: reply.error }
    }
    return unreachable
  }

  /** Undefined when there is nothing to remind under any more. */
  const remind = async (
    receipt: SlackReceipt,
    message: SlackMessage,
    options: { readonly id: string; readonly signal: AbortSignal }
  ): Promise<DeliveryOutcome | undefined> => {
    const { channelId, ts } = receipt
    const reply = await post(channelId, message, { ...options, threadTs: ts })
    if (reply.outcome === 'limited') return overLimitOf('chat.postMessage', reply.retryAfterMs)
    // The invitation's message is the one that verdicts change.
    if (reply.outcome === 'ok') return { outcome: 'delivered', receipt: encodeReceipt(receipt) }
    return isWithoutThread(reply.error) ? undefined : { outcome: 'unreachable', reason: reply.error }
  }

  const rewrite = async (
    { channelId, ts }: SlackReceipt,
    message: SlackMessage,
    signal: AbortSignal
  ): Promise<void> => {
    const args = { ...messageArgs(channelId, message), ts }
    const reply = await api.call('chat.update', args, { signal, waitMaxMs: UPDATE_WAIT_MS, expects: isPastUpdate })
    if (reply.outcome !== 'limited') return
    throw slackFailure('chat.update', 'RATE_LIMITED', { retryAfterMs: reply.retryAfterMs })
  }

  const channel: Channel = {
    async reachability({ address, alternatives }, { signal }) {
      const addresses = [address, ...alternatives].filter((candidate) => ADDRESS.test(candidate))
      let reason = NO_ADDRESS
      for (const candidate of addresses) {
        // A call that has no turn now says nothing; the delivery waits for one.
        const opened = await conversationOf(candidate, signal, 0)
        if (opened.outcome !== 'refused') return { outcome: 'reachable' }
        reason = opened.error
      }
      return { outcome: 'unreachable', reason }
    },
    async deliver(invitation, { signal }) {
      const { id, kind, approver } = invitation
      const receipt = kind === 'reminder' ? decodeReceipt(invitation.receipt) : undefined
      if (receipt !== undefined) {
        const reminded = await remind(receipt, reminderMessage(invitation), { id, signal })
        if (reminded !== undefined) return reminded
      }
      return postTo(approver, invitationMessage(invitation, inboxUrl), { id, signal })
    },
    async update({ receipt, action, summary, verdict, approver }, { signal }) {
      const at = decodeReceipt(receipt)
      if (at === undefined) return
      const { requestIds } = at
      if (requestIds === undefined) return rewrite(at, verdictMessage({ action, summary }, verdict), signal)
      // Without `inspect` no digest is sent; one of an earlier configuration keeps its buttons, which do no harm.
      if (inspect === undefined || digests.says(at, verdict)) return
      const entries = await Promise.all(requestIds.map((requestId) => entryOf(inspect, requestId)))
      const known = entries.filter((entry) => entry !== undefined)
      await rewrite(at, digestMessage({ approver: approver.id, more: 0 }, known), signal)
      digests.wrote(at, known)
    }
  }
  if (inspect === undefined) return channel
  return {
    ...channel,
    async digest(digest, { signal }) {
      const { id, approver, more } = digest
      const requestIds = digest.invitations.map(({ requestId }) => requestId)
      const message = digestMessage({ id, approver: approver.id, more }, digestEntries(digest))
      return postTo(approver, message, { id, signal, requestIds })
    }
  }
}

const NO_ADDRESS = 'no address that is an id of Slack'

const messageArgs = (channelId: string, { text, blocks, metadata }: SlackMessage): JsonObject => ({
  channel: channelId,
  text,
  blocks,
  // The text is plain, and names in it are no mentions.
  mrkdwn: false,
  parse: 'none',
  link_names: false,
  ...(metadata === undefined ? {} : { metadata })
})

function delivered(body: JsonObject, requestIds: readonly string[] | undefined): DeliveryOutcome {
  const { channel: channelId, ts } = body
  if (typeof channelId !== 'string' || typeof ts !== 'string') throw slackFailure('chat.postMessage', 'NO_RECEIPT')
  const receipt = encodeReceipt({ channelId, ts, ...(requestIds === undefined ? {} : { requestIds }) })
  return { outcome: 'delivered', receipt }
}

/** Which verdicts the messages of digests say, as far as this process wrote them: a storm of verdicts is a few updates. */
function rewrittenDigests(): {
  says(at: SlackReceipt, verdict: VerdictNotice['verdict']): boolean
  wrote(at: SlackReceipt, entries: readonly DigestEntry[]): void
} {
  const said = new Map<string, ReadonlyMap<string, string>>()
  const keyOf = ({ channelId, ts }: SlackReceipt): string => `${channelId}:${ts}`
  return {
    says: (at, { requestId, outcome }) => said.get(keyOf(at))?.get(requestId) === outcome,
    wrote(at, entries) {
      const key = keyOf(at)
      said.delete(key)
      if (said.size >= DIGESTS_MAX) said.delete(said.keys().next().value as string)
      said.set(
        key,
        new Map(
          entries.flatMap(({ requestId, verdict }) => (verdict === undefined ? [] : [[requestId, verdict.outcome]]))
        )
      )
    }
  }
}

/** A request as it is now; undefined when the store holds it no more. */
async function entryOf(inspect: OversightCalls['inspect'], requestId: string): Promise<DigestEntry | undefined> {
  try {
    const { action, summary, risk, requestedBy, context, deadlineAt, verdict } = await inspect(requestId)
    return { requestId, action, summary, risk, requestedBy, context, deadlineAt, verdict }
  } catch (error) {
    if (isSuiteError(error, 'UNKNOWN_REQUEST')) return undefined
    throw error
  }
}

/**
 * The same UUID for every attempt at a message in a conversation. Slack documents which errors `client_msg_id` can have, and
 * not that it takes one: a message that is sent again is recognised by it or is there twice, and nothing relies on it.
 */
function clientMessageId(id: string, channelId: string): string {
  const hex = bytesToHex(sha256(utf8ToBytes(JSON.stringify([id, channelId]))))
  // Version 8 of RFC 9562 §5.8, whose bits are the application's own.
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-'
  )
}
