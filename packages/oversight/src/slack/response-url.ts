import { createTimeout, type JsonObject, type Platform } from '@enablement/core'
import type { SlackFetch } from './slack-api.ts'
import { slackFailure } from './slack-error.ts'

/** Slack and GovSlack give these for `response_url`: https://docs.slack.dev/interactivity/handling-user-interaction. */
const HOSTS: ReadonlySet<string> = new Set(['hooks.slack.com', 'hooks.slack-gov.com'])

/** Slack gives half an hour; nobody waits for it that long. */
const RESPONSE_MS = 5_000

/** Tells somebody, or changes the message, through the URL that came with what they did. */
export type Responder = (url: string, body: JsonObject) => Promise<void>

/**
 * Posts to `response_url`s. The URL is part of a payload that Slack has signed, or went through a form's metadata; it is
 * still asked for nothing but Slack's own host, or the origin of the API that was configured, and no redirect is followed.
 * Throws `CHANNEL_FAILED`, without the URL, for whoever has that may write in our name.
 */
export function createResponder(options: {
  readonly apiUrl: string
  readonly fetch: SlackFetch
  readonly platform: Platform
}): Responder {
  const { apiUrl, fetch, platform } = options
  const timeout = createTimeout({ timeoutMs: RESPONSE_MS, platform })
  const { origin } = new URL(apiUrl)
  return async (url, body) => {
    if (!isAllowed(url, origin)) throw slackFailure('response_url', 'FOREIGN_URL')
    let status: number
    try {
      status = await timeout.execute(async ({ signal }) => {
        const response = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json; charset=utf-8' },
          body: JSON.stringify(body),
          redirect: 'error',
          signal
        })
        await response.body?.cancel()
        return response.status
      })
    } catch {
      // The cause may quote the URL.
      throw slackFailure('response_url', 'NO_ANSWER')
    }
    if (status !== 200) throw slackFailure('response_url', `HTTP_${status}`)
  }
}

function isAllowed(text: string, origin: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  if (url.username !== '' || url.password !== '') return false
  return url.origin === origin || (url.protocol === 'https:' && url.port === '' && HOSTS.has(url.hostname))
}
