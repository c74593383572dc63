/** What the end of a call says about the callee's health: a failure counts against it, `ignored` is no evidence at all. */
export type CallVerdict = 'success' | 'failure' | 'ignored'

/** How ends of calls are judged. A caller that gave up is never asked about: that is `ignored`. */
export interface Classification {
  /** Judges what the work returned; `classifyValue` unless given. */
  readonly value?: (value: unknown) => CallVerdict
  /** Judges what the work threw; `classifyError` unless given. */
  readonly error?: (error: unknown) => CallVerdict
}

/** Errors wrap errors: `fetch failed` wraps the socket's. Deeper than this nobody looks, for chains may be cycles. */
const CAUSES_MAX = 5

/** Of Node and undici: the connection could not be made. Nothing reached the callee. */
const UNREACHED = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT'
])

/** Of Node, undici and this suite: the connection broke or nobody answered. What reached the callee is unknown. */
const UNANSWERED = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_GOAWAY_SESSION',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'STORE_UNAVAILABLE',
  'COMMIT_UNKNOWN',
  'TIMED_OUT'
])

/** What `fetch` throws when the network failed, in Node and in browsers, which give no code. */
const FETCH_FAILED = /^(fetch failed|Failed to fetch|Load failed|NetworkError when attempting to fetch resource\.?)$/

/**
 * A timer that fires this much later than its own length shows that this process stood still, which says nothing about
 * the callee (research/core.md §4.5: a 50 ms timeout fired at 127 ms although the reply was there).
 */
const STALL_RATIO = 0.5

interface ErrorShape {
  readonly name?: unknown
  readonly code?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly status?: unknown
  readonly statusCode?: unknown
  readonly response?: { readonly status?: unknown; readonly statusCode?: unknown } | null
  /** Of the AWS SDK. */
  readonly $metadata?: { readonly httpStatusCode?: unknown } | null
  readonly detail?: { readonly timeoutMs?: unknown; readonly lateMs?: unknown } | null
}

/** The HTTP status that a response, or an error made from one, carries. */
export function statusOf(value: unknown): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { status, statusCode, response, $metadata } = value as ErrorShape
  const candidates = [status, statusCode, response?.status, response?.statusCode, $metadata?.httpStatusCode]
  return candidates.find(
    (found): found is number => Number.isInteger(found) && (found as number) >= 100 && (found as number) <= 599
  )
}

const verdictOfStatus = (status: number): CallVerdict =>
  status >= 500 || status === 429 ? 'failure' : status >= 400 ? 'ignored' : 'success'

/**
 * Judges a returned value: a response (anything with an HTTP status in `status`, such as `fetch` gives) with 5xx or 429
 * is a failure, with another 4xx it is ignored. Everything else is a success.
 */
export function classifyValue(value: unknown): CallVerdict {
  if (typeof value !== 'object' || value === null) return 'success'
  const { status } = value as ErrorShape
  if (!Number.isInteger(status) || (status as number) < 400 || (status as number) > 599) return 'success'
  return verdictOfStatus(status as number)
}

/**
 * Judges what was thrown: timeouts, transport errors, 5xx and 429 are failures. Ignored are aborts, other 4xx, and
 * everything else: a bug or an invalid request in the caller says nothing about the callee, and would close it to
 * everybody. A client that throws plain errors for its transport needs a classification of its own.
 */
export function classifyError(error: unknown): CallVerdict {
  const status = statusOf(error)
  if (status !== undefined) return verdictOfStatus(status)
  for (const { name, code, message, detail } of chain(error)) {
    if (name === 'AbortError') return 'ignored'
    if (code === 'TIMED_OUT') return stalled(detail) ? 'ignored' : 'failure'
    if (name === 'TimeoutError') return 'failure'
    if (typeof code === 'string' && (UNREACHED.has(code) || UNANSWERED.has(code))) return 'failure'
    if (name === 'TypeError' && typeof message === 'string' && FETCH_FAILED.test(message)) return 'failure'
  }
  return 'ignored'
}

/** Whether an error proves that the callee did nothing: the connection was never made, or it answered 429. */
export function hadNoEffect(error: unknown): boolean {
  if (statusOf(error) === 429) return true
  for (const { code } of chain(error)) {
    if (typeof code === 'string' && (UNREACHED.has(code) || code === 'STORE_UNAVAILABLE')) return true
  }
  return false
}

function stalled(detail: ErrorShape['detail']): boolean {
  return (
    typeof detail?.timeoutMs === 'number' &&
    typeof detail.lateMs === 'number' &&
    detail.lateMs > STALL_RATIO * detail.timeoutMs
  )
}

/** The error, what caused it, and so on; an `AggregateError` of failed connection attempts stands for its first. */
function* chain(error: unknown): Generator<ErrorShape> {
  let at: unknown = error
  for (let depth = 0; depth < CAUSES_MAX && typeof at === 'object' && at !== null; depth++) {
    yield at
    const { cause }: ErrorShape = at
    at = cause ?? (at instanceof AggregateError ? at.errors[0] : undefined)
  }
}
