/** Seconds as RFC 9110 §10.2.3 writes them: digits alone. More of them than this is later than anybody waits. */
const SECONDS = /^\d{1,10}$/

/**
 * An HTTP date (RFC 9110 §5.6.7), in the three forms that a recipient must take. `Date.parse` alone takes much else, such
 * as `1` for the year 2001.
 */
const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .{15,25}$/

/**
 * How long a `Retry-After` header asks to wait, in milliseconds from `now` (epoch milliseconds, for its dates); 0 for a
 * date that has passed and undefined for what is not one.
 */
export function parseRetryAfter(header: string, now: number): number | undefined {
  const text = header.trim()
  if (SECONDS.test(text)) return Number(text) * 1_000
  if (!HTTP_DATE.test(text)) return undefined
  // The form of C's asctime names no zone; it is UTC like the others.
  const at = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

interface Asking {
  readonly headers?: unknown
  readonly response?: { readonly headers?: unknown } | null
  readonly detail?: { readonly retryAfterMs?: unknown } | null
  readonly retryAfterMs?: unknown
}

/**
 * What a response, or an error made from one, or an error of this suite with `detail.retryAfterMs`, asks to wait. The
 * header is read from a `Headers` or a plain object of them.
 */
export function retryAfterOf(end: unknown, now: number): number | undefined {
  if (typeof end !== 'object' || end === null) return undefined
  const { headers, response, detail, retryAfterMs } = end as Asking
  for (const asked of [retryAfterMs, detail?.retryAfterMs]) {
    if (typeof asked === 'number' && Number.isFinite(asked) && asked >= 0) return asked
  }
  const header = headerIn(headers) ?? headerIn(response?.headers)
  return header === undefined ? undefined : parseRetryAfter(header, now)
}

function headerIn(headers: unknown): string | undefined {
  if (typeof headers !== 'object' || headers === null) return undefined
  const { get } = headers as { readonly get?: unknown }
  const found: unknown =
    typeof get === 'function'
      ? get.call(headers, 'retry-after')
      : ((headers as Record<string, unknown>)['retry-after'] ?? (headers as Record<string, unknown>)['Retry-After'])
  return typeof found === 'string' ? found : undefined
}
