import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import { type EgressAllowance, egressAllowanceSchema, egressGuard } from './egress.ts'
import type { WebhookTransport } from './webhook-transport.ts'

/** The part of `fetch` that is used, and of its answer. */
export type WebhookFetch = (
  url: string,
  init: {
    readonly method: 'POST'
    readonly headers: Record<string, string>
    readonly body: Uint8Array<ArrayBuffer>
    readonly redirect: 'manual'
    readonly signal: AbortSignal
  }
) => Promise<{
  readonly status: number
  readonly headers: { get(name: string): string | null }
  readonly body: { cancel(): Promise<void> } | null
}>

export interface FetchTransportOptions {
  readonly fetch: WebhookFetch
  readonly allow?: EgressAllowance
}

const optionsSchema: z.ZodType<FetchTransportOptions> = z.strictObject({
  fetch: z.custom<WebhookFetch>((value) => typeof value === 'function', 'must be a function'),
  allow: egressAllowanceSchema.exactOptional()
})

/**
 * A transport through a `fetch`, for runtimes without Node's sockets, and for egress through a proxy that filters. It
 * checks the URL, and cannot check what a name resolves to: that is left to the network. Throws `INVALID_OPTIONS`.
 */
export function fetchTransport(options: FetchTransportOptions): WebhookTransport {
  const { fetch, allow } = parseOptions(optionsSchema, 'fetchTransport', options)
  const guard = egressGuard(allow)
  return {
    async post(url, { headers, body }, { signal }) {
      const checked = guard.url(url)
      if (checked.outcome === 'refused') return checked
      const response = await fetch(checked.url.href, { method: 'POST', headers, body, redirect: 'manual', signal })
      // Unread, so that an endless one costs nothing; what cancelling it throws is about a body that nobody wants.
      response.body?.cancel().catch(() => undefined)
      const retryAfter = response.headers.get('retry-after') ?? undefined
      return { outcome: 'answered', status: response.status, retryAfter }
    }
  }
}
