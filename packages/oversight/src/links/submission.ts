import type { FilledForm } from './link-page.ts'

/** What came of reading a form that was sent. */
export type Submission =
  | { readonly outcome: 'read'; readonly seal: string; readonly filled: FilledForm }
  | { readonly outcome: 'refused'; readonly status: 413 | 415 }

/** A reason in which each character takes nine in a form (`%E4%BD%A0`), the seal, and then some. */
const BODY_MAX_BYTES = 16_384

/**
 * Whether a form was sent from a page of `origin`, which browsers say and pages cannot. `Sec-Fetch-Site` counts: under
 * `Referrer-Policy: no-referrer` browsers send `Origin: null`, also to the page's own origin. What sends neither is not a
 * browser of these years.
 */
export function isFromPage({ headers }: Request, origin: string): boolean {
  const site = headers.get('sec-fetch-site')
  const from = headers.get('origin')
  if (from !== null && from !== 'null' && from !== origin) return false
  return site === null ? from === origin : site === 'same-origin'
}

/** Reads a form as browsers send it, without ever holding more than the bound. */
export async function readSubmission(request: Request): Promise<Submission> {
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded') return { outcome: 'refused', status: 415 }
  const text = await boundedText(request)
  if (text === undefined) return { outcome: 'refused', status: 413 }
  const fields = new URLSearchParams(text)
  // A field that is there twice says two things, and counts as not there.
  const field = (name: string): string => (fields.getAll(name).length === 1 ? (fields.get(name) as string) : '')
  const decision = field('decision')
  return {
    outcome: 'read',
    seal: field('form'),
    filled: {
      decision: decision === 'approve' || decision === 'deny' ? decision : undefined,
      // Browsers send line breaks as CR LF, which would count twice; stores take no NUL.
      reason: plain(field('reason')),
      word: plain(field('word')).slice(0, 100)
    }
  }
}

const plain = (text: string): string => text.replaceAll('\r\n', '\n').replaceAll('\0', '').trim().toWellFormed()

async function boundedText(request: Request): Promise<string | undefined> {
  if (request.body === null) return ''
  const decoder = new TextDecoder()
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader()
  let text = ''
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.length
    if (bytes > BODY_MAX_BYTES) {
      await reader.cancel()
      return undefined
    }
    text += decoder.decode(value, { stream: true })
  }
}
