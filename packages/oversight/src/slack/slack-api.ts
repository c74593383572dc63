import { type JsonObject, type Platform, parseRetryAfter, sleep } from '@enablement/core'
import { boundedBody } from './bounded-body.ts'
import { isLimited, slackError, slackFailure, slackUnauthorized } from './slack-error.ts'
import type { SlackEvent } from './slack-event.ts'
import type { SlackLimits, SlackMethod } from './slack-limits.ts'

/** A bot token (`xoxb-…`), or what gives the current one, for apps whose tokens rotate. It is asked for every call. */
export type SlackToken = string | (() => string | Promise<string>)

/** As much of `fetch` as is used. */
export type SlackFetch = (url: string, init: RequestInit) => Promise<Response>

/** What came of a call. Everything else is thrown. */
export type SlackReply =
  | { readonly outcome: 'ok'; readonly body: JsonObject }
  /** Slack understood, and will not do it for a reason that the caller said it expects. */
  | { readonly outcome: 'refused'; readonly error: string }
  /** The method's limit in this workspace is used up for longer than the call may wait. */
  | { readonly outcome: 'limited'; readonly retryAfterMs: number }

/** Calls Slack's Web API within its limits. */
export interface SlackApi {
  /**
   * Waits up to `waitMaxMs` for a token of the method's bucket. A 429 pauses that bucket for all who share it, and the call
   * waits on or is `limited`. Throws `CHANNEL_FAILED`, `CHANNEL_UNAUTHORIZED`, what the bucket throws, and the signal's
   * reason.
   */
  call(
    method: SlackMethod,
    args: JsonObject,
    options: {
      readonly signal: AbortSignal
      readonly waitMaxMs: number
      readonly expects?: (error: string) => boolean
    }
  ): Promise<SlackReply>
}

/** What Slack's documents show in their example of a 429, taken where one comes without `Retry-After`. */
const RETRY_AFTER_DEFAULT_MS = 30_000
/** Less than this is no pause: `Retry-After: 0` would have the call sent again and again without a wait. */
const RETRY_AFTER_MIN_MS = 1_000
/** The longest pause that a bucket takes. */
const RETRY_AFTER_MAX_MS = 86_400_000

/** Slack echoes the message; its own bound on that is some 40,000 characters. */
const REPLY_BYTES_MAX = 1_048_576

/** What an HTTP header takes without being refused with its value in the message, which would leak it. */
const TOKEN = /^[\x21-\x7e]{1,1024}$/

export function createSlackApi(options: {
  readonly token: SlackToken
  readonly limits: SlackLimits
  readonly apiUrl: string
  readonly fetch: SlackFetch
  readonly platform: Platform
  readonly report: (event: SlackEvent) => void
}): SlackApi {
  // Called by itself: some hosts refuse a `fetch` that is called as another object's.
  const { token, limits, apiUrl, fetch, platform, report } = options
  const { clock } = platform
  const base = apiUrl.endsWith('/') ? apiUrl : `${apiUrl}/`

  /** One attempt; a number is how long Slack asks to wait. */
  const attempt = async (method: SlackMethod, args: JsonObject, signal: AbortSignal): Promise<JsonObject | number> => {
    const authorization = `Bearer ${await currentToken(token, method)}`
    let response: Response
    let bytes: Uint8Array | undefined
    try {
      response = await fetch(base + method, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json; charset=utf-8' },
        body: JSON.stringify(args),
        redirect: 'error',
        signal
      })
      bytes = await boundedBody(response.body, REPLY_BYTES_MAX)
    } catch (error) {
      signal.throwIfAborted()
      throw slackFailure(method, 'NO_ANSWER', { cause: error })
    }
    const { status } = response
    const reply = bytes === undefined ? undefined : objectIn(bytes)
    const error = typeof reply?.['error'] === 'string' ? reply['error'] : undefined
    if (status === 429 || (error !== undefined && isLimited(error))) return retryAfterOf(response, clock.now())
    if (status !== 200) throw slackFailure(method, `HTTP_${status}`)
    if (reply === undefined) throw slackFailure(method, 'NOT_JSON')
    return reply
  }

  return {
    async call(method, args, { signal, waitMaxMs, expects }) {
      const bucket = limits[method]
      const until = clock.monotonic() + waitMaxMs
      for (;;) {
        const taken = await bucket.take()
        if (taken.outcome !== 'taken') {
          // One token never exceeds a burst.
          const waitMs = taken.outcome === 'throttled' ? taken.retryAfterMs : 0
          report({ type: 'slack.limited', method, by: 'bucket', retryAfterMs: waitMs })
          if (clock.monotonic() + waitMs > until) return { outcome: 'limited', retryAfterMs: Math.ceil(waitMs) }
          await sleep(clock, waitMs, { signal })
          continue
        }
        signal.throwIfAborted()
        const reply = await attempt(method, args, signal)
        if (typeof reply === 'number') {
          report({ type: 'slack.limited', method, by: 'slack', retryAfterMs: reply })
          await bucket.pause(reply)
          // Asks the bucket at once, which says how long there is to wait.
          continue
        }
        if (reply['ok'] === true) return { outcome: 'ok', body: reply }
        const error = errorIn(reply)
        report({ type: 'slack.refused', method, error })
        if (expects?.(error) === true) return { outcome: 'refused', error }
        throw slackError(method, error)
      }
    }
  }
}

async function currentToken(token: SlackToken, operation: SlackMethod): Promise<string> {
  const current = typeof token === 'function' ? await token() : token
  if (typeof current === 'string' && TOKEN.test(current)) return current
  throw slackUnauthorized(operation, 'NO_TOKEN')
}

function retryAfterOf(response: Response, now: number): number {
  const asked = parseRetryAfter(response.headers.get('retry-after') ?? '', now) ?? RETRY_AFTER_DEFAULT_MS
  return Math.min(RETRY_AFTER_MAX_MS, Math.max(RETRY_AFTER_MIN_MS, asked))
}

function objectIn(bytes: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** Slack's errors are words; anything else would be somebody's text in our errors. */
function errorIn(reply: JsonObject): string {
  const { error } = reply as { readonly error?: unknown }
  return typeof error === 'string' && /^[a-z0-9_]{1,80}$/i.test(error) ? error : 'unknown_error'
}
