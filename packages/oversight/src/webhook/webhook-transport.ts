import type { EgressRefusal } from './egress.ts'

/** What an endpoint is sent. */
export interface WebhookPost {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array<ArrayBuffer>
}

/** What came of a POST. */
export type WebhookReply =
  /** The endpoint answered. `retryAfter` is its header of that name. */
  | { readonly outcome: 'answered'; readonly status: number; readonly retryAfter: string | undefined }
  /** Nothing was sent: the URL, or an address that its name resolves to, is none to call. */
  | { readonly outcome: 'refused'; readonly because: EgressRefusal }

/**
 * Brings a body to a URL: one POST that follows no redirect, and reads nothing of the answer but its head. A throw means
 * that it is not known whether the endpoint got it. Gives up when the signal aborts.
 */
export interface WebhookTransport {
  post(url: string, post: WebhookPost, options: { readonly signal: AbortSignal }): Promise<WebhookReply>
}
