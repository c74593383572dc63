import { parseOptions } from '@enablement/core'
import { z } from 'zod'
import type { TimeSource } from './time-source.ts'

/** The part of the global `fetch` that is used. */
export type TimeFetch = (
  url: string,
  init: { readonly method: string; readonly headers: Readonly<Record<string, string>>; readonly signal: AbortSignal }
) => Promise<TimeResponse>

/** The part of a `Response` that is used. */
export interface TimeResponse {
  readonly ok: boolean
  readonly status: number
  readonly headers: { get(name: string): string | null }
  json(): Promise<unknown>
}

export interface HttpTimeSourceOptions {
  /** Appears in events: the host unless given. */
  readonly name?: string
  /** `https:`, or `http:` within your own network: whoever can change the answer sets the time. */
  readonly url: string
  /** Reads epoch milliseconds from a JSON body; without it, it is the `Date` header of a HEAD request that counts. */
  readonly epochMsOf?: (body: unknown) => number
  /** How far off a JSON body may be: 100 ms unless given. A `Date` header is within half a second, and 100 ms more. */
  readonly errorMs?: number
  /** The global one unless given. */
  readonly fetch?: TimeFetch
}

const optionsSchema: z.ZodType<HttpTimeSourceOptions> = z.strictObject({
  name: z.string().min(1).max(200).exactOptional(),
  url: z.url({ protocol: /^https?$/ }),
  epochMsOf: z.custom<(body: unknown) => number>((value) => typeof value === 'function').exactOptional(),
  errorMs: z.number().min(0).max(3_600_000).exactOptional(),
  fetch: z.custom<TimeFetch>((value) => typeof value === 'function').exactOptional()
})

const ERROR_MS = 100

/** `Date` names a second that has begun (RFC 9110 §6.6.1): its middle is half a second off at most. */
const HALF_SECOND_MS = 500

/** Bytes of a time as JSON that are read; whoever answers with more answers with something else. */
const BODY_LENGTH_MAX = 65_536

/**
 * A server's time: the `Date` header of its answer to HEAD, or a JSON body. An answer that a cache kept says when it was
 * made, not what the time is, and is refused (RFC 9111 §5.1, `Age`). Throws `INVALID_OPTIONS`.
 */
export function httpTimeSource(options: HttpTimeSourceOptions): TimeSource {
  const parsed = parseOptions(optionsSchema, 'httpTimeSource', options)
  const { url, epochMsOf, errorMs = ERROR_MS, fetch = globalThis.fetch } = parsed
  const name = parsed.name ?? new URL(url).host
  return {
    name,
    async now({ signal }) {
      const method = epochMsOf === undefined ? 'HEAD' : 'GET'
      const response = await fetch(url, { method, headers: { 'cache-control': 'no-store' }, signal })
      if (!response.ok) throw new Error(`${name} answered with status ${response.status}`)
      if (Number(response.headers.get('age') ?? 0) !== 0) throw new Error(`${name} answered from a cache`)
      if (epochMsOf === undefined) {
        return { epochMs: dateOf(response, name) + HALF_SECOND_MS, errorMs: HALF_SECOND_MS + errorMs }
      }
      if (Number(response.headers.get('content-length') ?? 0) > BODY_LENGTH_MAX) {
        throw new Error(`${name} answered with more than ${BODY_LENGTH_MAX} bytes`)
      }
      return { epochMs: epochMsOf(await response.json()), errorMs }
    }
  }
}

function dateOf(response: TimeResponse, name: string): number {
  const date = Date.parse(response.headers.get('date') ?? '')
  if (Number.isNaN(date)) throw new Error(`${name} answered without a date`)
  return date
}
