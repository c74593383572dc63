import type { Issue } from '@enablement/core'

/** The CloudEvents of an HTTP message, not yet looked into. */
export type HttpMessage =
  | { readonly outcome: 'read'; readonly mode: 'structured' | 'binary' | 'batch'; readonly events: readonly unknown[] }
  | { readonly outcome: 'rejected'; readonly status: 400 | 413 | 415; readonly issues: readonly Issue[] }

/** Attributes that a binary message may have; one that brings more is refused. */
const ATTRIBUTES_MAX = 64

/** HTTP binding §3: which mode it is, the media type says. */
const STRUCTURED = 'application/cloudevents+json'
const BATCH = 'application/cloudevents-batch+json'

/**
 * Takes the events out of a message: CloudEvents 1.0, HTTP protocol binding §3, JSON event format §2 and §4. The body is
 * read up to `bodyMaxBytes` and no further, whatever its length is said to be.
 */
export async function readHttpMessage(
  request: Request,
  limits: { readonly bodyMaxBytes: number; readonly eventsMax: number }
): Promise<HttpMessage> {
  const type = request.headers.get('content-type') ?? ''
  const [essence = '', ...parameters] = type.split(';').map((part) => part.trim().toLowerCase())
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length)
  if (charset !== undefined && !['utf-8', '"utf-8"', 'us-ascii'].includes(charset)) {
    return rejected(415, 'content-type', 'must be UTF-8')
  }
  const isEvent = essence.startsWith('application/cloudevents')
  if (isEvent ? essence !== STRUCTURED && essence !== BATCH : !isJson(essence)) {
    return rejected(415, 'content-type', `must be JSON: ${STRUCTURED}, ${BATCH}, or application/json with ce- headers`)
  }
  const body = await bodyOf(request, limits.bodyMaxBytes)
  if (body === undefined) return rejected(413, '', `must have at most ${limits.bodyMaxBytes} bytes`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return rejected(400, '', 'must be JSON')
  }
  if (essence === STRUCTURED) return { outcome: 'read', mode: 'structured', events: [value] }
  if (essence === BATCH) {
    if (!Array.isArray(value)) return rejected(400, '', 'must be an array of CloudEvents')
    if (value.length > limits.eventsMax) return rejected(413, '', `must have at most ${limits.eventsMax} events`)
    return { outcome: 'read', mode: 'batch', events: value }
  }
  const attributes = attributesOf(request.headers)
  if (attributes === undefined) return rejected(400, '', 'has ce- headers that cannot be read')
  return { outcome: 'read', mode: 'binary', events: [{ ...attributes, data: value }] }
}

const isJson = (essence: string): boolean => essence === 'application/json' || essence.endsWith('+json')

/** The attributes in the `ce-` headers, or undefined when one is malformed. */
function attributesOf(headers: Headers): Readonly<Record<string, string>> | undefined {
  const attributes: [string, string][] = []
  for (const [header, value] of headers) {
    if (!header.startsWith('ce-')) continue
    const name = header.slice(3)
    // §3.1.1: the media type is in Content-Type alone, and the data is the body.
    if (['data', 'data_base64', 'datacontenttype'].includes(name) || attributes.length === ATTRIBUTES_MAX)
      return undefined
    const decoded = headerValue(value)
    if (decoded === undefined) return undefined
    attributes.push([name, decoded])
  }
  return Object.fromEntries(attributes)
}

/**
 * §3.1.3.2: quotes are taken off, then one round of percent-decoding, which refuses what is no UTF-8. A `%` that begins
 * no encoding is what a sender wrote that does not encode.
 */
function headerValue(value: string): string | undefined {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value)
  const text = quoted?.[1]?.replaceAll(/\\(.)/g, '$1') ?? value
  try {
    return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, decodeURIComponent)
  } catch {
    return undefined
  }
}

async function bodyOf(request: Request, maxBytes: number): Promise<Uint8Array | undefined> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) return undefined
  if (request.body === null) return new Uint8Array()
  const reader = request.body.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > maxBytes) {
      await reader.cancel()
      return undefined
    }
    chunks.push(value)
  }
  const body = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

function rejected(status: 400 | 413 | 415, path: string, message: string): HttpMessage {
  return { outcome: 'rejected', status, issues: [{ path, message }] }
}
