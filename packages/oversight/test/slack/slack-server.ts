import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { VirtualClock } from '@enablement/core/testing'

/** What a server may do with one call instead of answering it. */
export type Mishap =
  /** 429 with `Retry-After`; undefined leaves the header out. The method is blocked for as long. */
  | { readonly limited: string | undefined }
  /** The same, as some chat methods say it. */
  | { readonly limitedWord: 'ratelimited' | 'rate_limited'; readonly retryAfter: string }
  | { readonly status: number }
  | { readonly error: string }
  | { readonly raw: string }
  /** Does what it is asked, and breaks the connection instead of saying so. */
  | { readonly lost: true }
  /** Answers never. */
  | { readonly silent: true }

interface TextObject {
  readonly type: 'plain_text' | 'mrkdwn'
  readonly text: string
  readonly emoji?: boolean
  readonly verbatim?: boolean
}

interface Button {
  readonly type: string
  readonly action_id: string
  readonly value?: string
  readonly url?: string
  readonly style?: string
  readonly text: TextObject
  readonly confirm?: { readonly text: TextObject }
}

export interface AnyBlock {
  readonly type: string
  readonly block_id?: string
  readonly text?: TextObject
  readonly elements?: readonly (TextObject | Button)[]
  readonly accessory?: Button
  readonly [member: string]: unknown
}

export interface Message {
  readonly channel: string
  readonly ts: string
  text: string
  blocks: readonly AnyBlock[]
  readonly threadTs: string | undefined
  readonly metadata: { readonly event_type: string; readonly event_payload: Record<string, unknown> } | undefined
}

export interface View {
  readonly id: string
  readonly callback_id?: string
  readonly private_metadata?: string
  readonly title: TextObject
  readonly blocks: readonly AnyBlock[]
}

export interface Call {
  readonly method: string
  /** By the virtual clock. */
  readonly at: number
  readonly body: Record<string, unknown>
}

export const TOKEN = 'xoxb-secret-token'
export const SIGNING_SECRET = '8f742231b10e8888abcd99yyyzzz85a5'
export const TEAM = 'T1'

/**
 * As much of Slack as the channel and its endpoint meet: four methods of its Web API over HTTP, `response_url`s, and the
 * interactions that a user of its clients causes. It refuses what Slack refuses, keeps count of every method, and notes
 * each call that comes while its method is blocked.
 */
export async function slackServer(clock: VirtualClock) {
  const users = new Map<string, string>()
  const messages: Message[] = []
  const views: View[] = []
  const calls: Call[] = []
  const duringBlock: Call[] = []
  const replies: { readonly url: string; readonly body: Record<string, unknown> }[] = []
  const mishaps = new Map<string, Mishap[]>()
  const blockedUntil = new Map<string, number>()
  const clientIds = new Map<string, Message>()
  const triggers = new Map<string, number>()
  const responses = new Map<string, Message>()
  let count = 0
  const next = (): number => (count += 1)

  const find = (channel: unknown, ts: unknown): Message | undefined =>
    messages.find((message) => message.channel === channel && message.ts === ts)

  const methods: Record<string, (body: Record<string, unknown>) => Record<string, unknown>> = {
    'conversations.open'({ users: user }) {
      const channel = users.get(String(user))
      if (channel === undefined) return { error: 'user_not_found' }
      return channel.startsWith('D') ? { channel: { id: channel } } : { error: channel }
    },
    'chat.postMessage'(body) {
      const { channel, client_msg_id: clientId, thread_ts: threadTs } = body
      const fault = messageFault(body)
      if (fault !== undefined) return { error: fault }
      if (!/^[CDG]/.test(String(channel))) return { error: 'channel_not_found' }
      if (threadTs !== undefined && find(channel, threadTs) === undefined) return { error: 'thread_not_found' }
      const known = clientIds.get(String(clientId))
      if (known !== undefined) return { channel, ts: known.ts }
      const message: Message = {
        channel: String(channel),
        ts: `${Math.floor(clock.now() / 1_000)}.${String(next()).padStart(6, '0')}`,
        text: String(body['text']),
        blocks: body['blocks'] as AnyBlock[],
        threadTs: threadTs as string | undefined,
        metadata: body['metadata'] as Message['metadata']
      }
      messages.push(message)
      if (server.recognisesRepeats && typeof clientId === 'string') clientIds.set(clientId, message)
      return { channel, ts: message.ts }
    },
    'chat.update'(body) {
      const fault = messageFault(body)
      if (fault !== undefined) return { error: fault }
      const message = find(body['channel'], body['ts'])
      if (message === undefined) return { error: 'message_not_found' }
      message.text = String(body['text'])
      message.blocks = body['blocks'] as AnyBlock[]
      return { channel: message.channel, ts: message.ts }
    },
    'views.open'({ trigger_id: trigger, view }) {
      const openedAt = triggers.get(String(trigger))
      if (openedAt === undefined) return { error: 'invalid_trigger_id' }
      if (clock.now() - openedAt > 3_000) return { error: 'expired_trigger_id' }
      triggers.delete(String(trigger))
      const fault = viewFault(view as View)
      if (fault !== undefined) return { error: fault }
      const opened = { ...(view as View), id: `V${next()}` }
      views.push(opened)
      return { view: opened }
    }
  }

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>
    const path = request.url ?? ''
    if (path.startsWith('/actions/')) return reply(path, body, response)
    const method = path.replace('/api/', '')
    const call = { method, at: clock.now(), body }
    calls.push(call)
    if (call.at < (blockedUntil.get(method) ?? 0)) duringBlock.push(call)
    const json = (status: number, value: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))
    }
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return json(200, { ok: false, error: 'invalid_auth' })
    const mishap = mishaps.get(method)?.shift()
    if (mishap !== undefined && 'silent' in mishap) return
    if (mishap !== undefined && !('lost' in mishap)) {
      if ('limited' in mishap || 'limitedWord' in mishap) {
        const retryAfter = 'limited' in mishap ? mishap.limited : mishap.retryAfter
        blockedUntil.set(method, call.at + Number(retryAfter ?? 30) * 1_000)
        const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter }
        const error = 'limited' in mishap ? 'ratelimited' : mishap.limitedWord
        return json('limited' in mishap ? 429 : 200, { ok: false, error }, headers)
      }
      if ('raw' in mishap) return void response.end(mishap.raw)
      return 'status' in mishap ? json(mishap.status, {}) : json(200, { ok: false, error: mishap.error })
    }
    const result = methods[method]?.(body) ?? { error: 'unknown_method' }
    if (mishap !== undefined) request.socket.destroy()
    else json(200, { ok: result['error'] === undefined, ...result })
  }

  const reply = (url: string, body: Record<string, unknown>, response: ServerResponse): void => {
    replies.push({ url, body })
    const mishap = mishaps.get('response_url')?.shift()
    if (mishap !== undefined && 'status' in mishap) return void response.writeHead(mishap.status).end()
    if (mishap !== undefined && 'silent' in mishap) return
    const message = responses.get(url)
    if (body['replace_original'] === true && message !== undefined) {
      const fault = messageFault(body)
      if (fault !== undefined) return void response.writeHead(400).end(fault)
      message.text = String(body['text'])
      message.blocks = body['blocks'] as AnyBlock[]
    }
    response.end('ok')
  }

  const http = createServer((request, response) => void answer(request, response))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`

  const sender = (user: string, { team = TEAM, userTeam }: { team?: string; userTeam?: string }) => ({
    team: { id: team, domain: 'acme' },
    user: { id: user, username: 'somebody', ...(userTeam === undefined ? {} : { team_id: userTeam }) },
    api_app_id: 'A1'
  })
  const trigger = (): string => {
    const id = `${next()}.trigger`
    triggers.set(id, clock.now())
    return id
  }

  const server = {
    origin,
    apiUrl: `${origin}/api/`,
    users,
    messages,
    views,
    calls,
    duringBlock,
    replies,
    /** Whether it answers a repeated `client_msg_id` with the first message. Slack promises neither. */
    recognisesRepeats: false,
    countOf: (method: string) => calls.filter((call) => call.method === method).length,
    /** What happens to the next calls of a method, one each. */
    next: (method: string, ...these: readonly Mishap[]) =>
      void mishaps.set(method, [...(mishaps.get(method) ?? []), ...these]),
    /** The payload of somebody using a button of a message. */
    click(
      message: Message,
      actionId: string,
      user: string,
      options: { team?: string; userTeam?: string; requestId?: string; responseUrl?: string } = {}
    ) {
      const { block, button } = buttonOf(message, actionId, options.requestId)
      const url = `/actions/${next()}`
      responses.set(url, message)
      return {
        type: 'block_actions',
        ...sender(user, options),
        trigger_id: trigger(),
        response_url: options.responseUrl ?? origin + url,
        container: { type: 'message', message_ts: message.ts, channel_id: message.channel },
        channel: { id: message.channel },
        actions: [
          {
            ...button,
            block_id: block.block_id,
            action_ts: `${Math.floor(clock.now() / 1_000)}.${String(next()).padStart(6, '0')}`
          }
        ]
      }
    },
    /** The payload of somebody sending a form. */
    submit(view: View, user: string, fields: { decision?: string; reason?: string }, options: { team?: string } = {}) {
      const { decision, reason } = fields
      return {
        type: 'view_submission',
        ...sender(user, options),
        trigger_id: trigger(),
        view: {
          ...view,
          state: {
            values: {
              ...(decision === undefined
                ? {}
                : { decision: { decision: { type: 'radio_buttons', selected_option: { value: decision } } } }),
              reason: { reason: { type: 'plain_text_input', value: reason ?? null } }
            }
          }
        },
        response_urls: []
      }
    },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      http.close()
      await once(http, 'close')
    }
  }
  return server
}

export type SlackServer = Awaited<ReturnType<typeof slackServer>>

/** A request as Slack signs it, at the virtual time unless told otherwise. */
export function signedRequest(
  payload: unknown,
  at: number,
  options: { secret?: string; body?: string; sent?: string; signature?: string; timestamp?: string } = {}
): Request {
  const body = options.body ?? new URLSearchParams({ payload: JSON.stringify(payload) }).toString()
  const timestamp = options.timestamp ?? String(Math.floor(at / 1_000))
  const hmac = createHmac('sha256', options.secret ?? SIGNING_SECRET)
    .update(`v0:${timestamp}:${body}`)
    .digest('hex')
  return new Request('https://app.example/slack/interactions', {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-slack-request-timestamp': timestamp,
      'x-slack-signature': options.signature ?? `v0=${hmac}`
    },
    body: options.sent ?? body
  })
}

/** The block and the button of it that has this action; with a request id, that of the request. */
export function buttonOf(message: { readonly blocks: readonly AnyBlock[] }, actionId: string, requestId?: string) {
  for (const block of message.blocks) {
    if (requestId !== undefined && block.block_id !== requestId) continue
    for (const button of [block.accessory, ...(block.elements ?? [])]) {
      if (button !== undefined && 'action_id' in button && button.action_id === actionId) return { block, button }
    }
  }
  throw new Error(`no button ${actionId}`)
}

/** All that somebody reads of a message, with its dates as tokens. */
export function textOf({ blocks }: { readonly blocks: readonly AnyBlock[] }): string {
  const texts = blocks.flatMap(({ text, elements = [] }) => [
    ...(text === undefined ? [] : [text.text]),
    ...elements.flatMap((element) => ('action_id' in element ? [] : [element.text]))
  ])
  return texts.join('\n')
}

export const actionsOf = ({ blocks }: { readonly blocks: readonly AnyBlock[] }): readonly string[] =>
  blocks.flatMap(({ elements = [], accessory }) =>
    [...elements, ...(accessory === undefined ? [] : [accessory])].flatMap((element) =>
      'action_id' in element ? [element.action_id] : []
    )
  )

/** What Slack refuses a message for; the limits of docs.slack.dev/reference/block-kit, and one that others measured. */
export function messageFault(body: Record<string, unknown>): string | undefined {
  const { blocks, text } = body as { readonly blocks?: readonly AnyBlock[]; readonly text?: unknown }
  if (typeof text !== 'string' || text.length > 40_000) return 'msg_too_long'
  if (blocks === undefined || blocks.length === 0 || blocks.length > 50) return 'invalid_blocks'
  if (JSON.stringify(blocks).length > 13_000) return 'msg_blocks_too_long'
  const ids = blocks.flatMap(({ block_id: id }) => (id === undefined ? [] : [id]))
  if (new Set(ids).size < ids.length || ids.some((id) => id.length > 255)) return 'invalid_blocks'
  return blocks.every(isBlock) ? undefined : 'invalid_blocks'
}

function viewFault({ title, blocks, private_metadata: metadata = '' }: View): string | undefined {
  const sound = isText(title, 24) && metadata.length <= 3_000 && blocks.length <= 100
  return sound && blocks.every((block) => block.type === 'input' || isBlock(block)) ? undefined : 'invalid_arguments'
}

function isBlock({ type, text, elements = [], accessory }: AnyBlock): boolean {
  switch (type) {
    case 'header':
      return isText(text, 150) && text?.type === 'plain_text'
    case 'section':
      return isText(text, 3_000) && (accessory === undefined || isButton(accessory))
    case 'context':
      return elements.length > 0 && elements.length <= 10 && elements.every((one) => isText(one as TextObject, 3_000))
    case 'actions':
      return elements.length > 0 && elements.length <= 25 && elements.every((one) => isButton(one as Button))
    default:
      return false
  }
}

const isText = (object: TextObject | undefined, lengthMax: number): boolean =>
  object !== undefined &&
  (object.type === 'plain_text' || object.type === 'mrkdwn') &&
  object.text.length >= 1 &&
  object.text.length <= lengthMax

const isButton = ({ action_id: id, text, value = '', url = '' }: Button): boolean =>
  id.length <= 255 && isText(text, 75) && value.length <= 2_000 && url.length <= 3_000
