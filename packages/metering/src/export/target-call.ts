import {
  type Call,
  type CallVerdict,
  classifyValue,
  createCircuitBreaker,
  createPipeline,
  createRetry,
  createTimeout,
  hadNoEffect,
  isSuiteError,
  type Platform,
  parseRetryAfter
} from '@enablement/core'
import { MeteringError } from '../metering-error.ts'

/** As much of `fetch` as is used. */
export type ExportFetch = (url: string, init: RequestInit) => Promise<Response>

/** A key, or what gives the current one. It is asked for every call. */
export type ExportKey = string | (() => string | Promise<string>)

/** What a target answered. */
export interface TargetAnswer {
  readonly status: number
  readonly headers: Headers
  /** Up to 64 KB of it; cut off beyond. */
  readonly body: string
}

/** Where a call went wrong. */
interface TargetFailure {
  readonly error: MeteringError<'EXPORT_FAILED' | 'EXPORT_UNAUTHORIZED'>
  /** Whether the call may have had its effect all the same. */
  readonly mayBeThere: boolean
}

/** Calls one target: retries, breaker and timeout around `fetch`. */
export interface TargetCall {
  /** Does not throw. */
  post(
    path: string,
    init: { readonly contentType: string; readonly body: string },
    signal: AbortSignal
  ): Promise<{ readonly answer: TargetAnswer } | { readonly failure: TargetFailure }>
  /** A failure that an answer is: 401, 403, 409, 429, 5xx. Undefined where the target has decided about what was sent. */
  failureOf(answer: TargetAnswer): TargetFailure | undefined
}

const TIMEOUT_MS = 10_000
const DEADLINE_MS = 30_000
/** A `Retry-After` up to here is waited for within the call; a longer one by the export, with its place on record. */
const RETRY_AFTER_MAX_MS = 5_000
const BODY_BYTES_MAX = 65_536

/** What an HTTP header takes without being refused with its value in the message, which would leak it. */
const KEY = /^[\x21-\x7e]{1,1024}$/

export function createTargetCall(options: {
  readonly target: string
  readonly baseUrl: string
  /** Undefined for a target without keys. */
  readonly key: ExportKey | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly fetch: ExportFetch
  readonly platform: Platform
}): TargetCall {
  // Called by itself: some hosts refuse a `fetch` that is called as another object's.
  const { target, key, headers, fetch, platform } = options
  const base = options.baseUrl.endsWith('/') ? options.baseUrl.slice(0, -1) : options.baseUrl
  const retry = createRetry({
    // Each event has its identifier.
    effects: 'repeatable',
    attemptsMax: 3,
    backoff: { jitter: 'full', baseMs: 250, maxMs: 4_000 },
    deadlineMs: DEADLINE_MS,
    retryAfterMaxMs: RETRY_AFTER_MAX_MS,
    classification: { value: verdictOf },
    platform
  })
  const breaker = createCircuitBreaker({ name: target, platform })
  const timeout = createTimeout({ timeoutMs: TIMEOUT_MS, platform })
  const pipeline = createPipeline([retry, breaker, timeout])

  const failed = (reason: string, retryAfterMs: number | undefined, cause?: unknown): TargetFailure['error'] =>
    new MeteringError(
      'EXPORT_FAILED',
      `${target} did not take usage: ${reason}`,
      { target, reason, retryAfterMs },
      cause === undefined ? {} : { cause }
    )
  const unauthorized = (reason: string): TargetFailure['error'] =>
    new MeteringError('EXPORT_UNAUTHORIZED', `${target} refuses the key: ${reason}`, { target, reason })

  async function attempt(
    { signal }: Call,
    path: string,
    init: { readonly contentType: string; readonly body: string },
    authorization: string | undefined
  ): Promise<TargetAnswer> {
    const response = await fetch(base + path, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': init.contentType,
        ...(authorization === undefined ? {} : { authorization })
      },
      body: init.body,
      redirect: 'error',
      signal
    })
    return { status: response.status, headers: response.headers, body: await textOf(response) }
  }

  return {
    async post(path, init, signal) {
      let authorization: string | undefined
      if (key !== undefined) {
        let current: unknown
        try {
          current = typeof key === 'function' ? await key() : key
        } catch (error) {
          return { failure: { error: failed('no-key', undefined, error), mayBeThere: false } }
        }
        if (typeof current !== 'string' || !KEY.test(current)) {
          return { failure: { error: unauthorized('no-key'), mayBeThere: false } }
        }
        authorization = `Bearer ${current}`
      }
      try {
        return { answer: await pipeline.execute((call) => attempt(call, path, init, authorization), { signal }) }
      } catch (error) {
        if (isSuiteError(error, 'CIRCUIT_OPEN')) {
          const { retryAfterMs } = error.detail as { readonly retryAfterMs: number }
          return { failure: { error: failed('circuit-open', retryAfterMs), mayBeThere: false } }
        }
        const reason = isSuiteError(error, 'TIMED_OUT') ? 'too-slow' : 'no-answer'
        return { failure: { error: failed(reason, undefined, error), mayBeThere: !hadNoEffect(error) } }
      }
    },
    failureOf({ status, headers: given }) {
      const reason = `http-${status}`
      if (status === 401 || status === 403) return { error: unauthorized(reason), mayBeThere: false }
      if (status !== 429 && status !== 408 && status !== 409 && status < 500) return undefined
      const retryAfterMs = parseRetryAfter(given.get('retry-after') ?? '', platform.clock.now())
      return { error: failed(reason, retryAfterMs), mayBeThere: status !== 429 && status !== 409 }
    }
  }
}

/** Stripe says itself whether a retry is of use; elsewhere 408, 409, 429 and 5xx are worth one. */
function verdictOf(value: unknown): CallVerdict {
  const { status, headers } = value as TargetAnswer
  const advice = headers.get('stripe-should-retry')
  if (advice === 'false') return 'ignored'
  return advice === 'true' || status === 408 || status === 409 ? 'failure' : classifyValue(value)
}

async function textOf(response: Response): Promise<string> {
  if (response.body === null) return ''
  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let bytes = 0; ; ) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.byteLength
    if (bytes > BODY_BYTES_MAX) {
      await reader.cancel()
      return text
    }
    text += decoder.decode(value, { stream: true })
  }
}
