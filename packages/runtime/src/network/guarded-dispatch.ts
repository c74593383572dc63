import { classifyError } from '@enablement/core'
import {
  type Attempt,
  type AttemptEnd,
  isIdempotencyKey,
  type OutboundRequest,
  type SendOutcome
} from '../partition/outbound-request.ts'
import type { PartitionGuard } from '../partition/partition-guard.ts'
import { RuntimeError } from '../runtime-error.ts'
import {
  type EgressRequest,
  type EgressTreatment,
  flatHeaders,
  headerOf,
  IDEMPOTENCY_KEY_HEADER,
  policyOfMethod
} from './http-request.ts'
import { type RequestBody, requestBody } from './request-body.ts'
import type { DispatchController, DispatchHandler, DispatchOptions, UndiciDispatcher } from './undici.ts'

/** Errors that the caller's own body or length caused, found only while it was being sent. */
const CALLERS_FAULT = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'UND_ERR_NOT_SUPPORTED'])

/** The dispatcher was closed. */
const CLOSED = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED'])

/**
 * Stands in for the controllers of all attempts, so that the caller can abort from the beginning, also while the request
 * waits for the network.
 */
class StandingController implements DispatchController {
  readonly giveUp = new AbortController()
  attached: DispatchController | undefined
  #reason: Error | null = null
  readonly #aborted: () => Error

  constructor(aborted: () => Error) {
    this.#aborted = aborted
  }

  get aborted(): boolean {
    return this.giveUp.signal.aborted
  }
  get reason(): Error | null {
    return this.#reason
  }
  get paused(): boolean {
    return this.attached?.paused ?? false
  }
  get rawHeaders(): unknown {
    return this.attached?.rawHeaders ?? null
  }
  get rawTrailers(): unknown {
    return this.attached?.rawTrailers ?? null
  }
  abort(reason?: Error): void {
    if (this.aborted) return
    this.#reason = reason ?? this.#aborted()
    this.giveUp.abort(this.#reason)
    this.attached?.abort(this.#reason)
  }
  pause(): void {
    this.attached?.pause()
  }
  resume(): void {
    this.attached?.resume()
  }
}

/** One attempt, as undici sees it. From the reply's beginning on it is the caller's. */
class AttemptHandler implements DispatchHandler {
  readonly #outer: DispatchHandler
  readonly #standing: StandingController
  readonly #attempt: Attempt
  readonly #body: RequestBody
  readonly #resolve: (end: AttemptEnd<undefined>) => void
  readonly #onAbort = (): void => this.#giveUp()
  #inner: DispatchController | undefined
  #state: 'waiting' | 'sent' | 'replied' | 'over' = 'waiting'

  constructor(
    outer: DispatchHandler,
    standing: StandingController,
    attempt: Attempt,
    body: RequestBody,
    resolve: (end: AttemptEnd<undefined>) => void
  ) {
    this.#outer = outer
    this.#standing = standing
    this.#attempt = attempt
    this.#body = body
    this.#resolve = resolve
    attempt.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Called just before the first byte is written. */
  onRequestStart(controller: DispatchController): void {
    this.#inner = controller
    if (this.#state === 'over') controller.abort(this.#attempt.signal.reason as Error)
    else this.#state = 'sent'
  }

  onRequestUpgrade(controller: DispatchController, status: number, headers: unknown, socket: unknown): void {
    this.#replied(controller)
    this.#outer.onRequestUpgrade?.(this.#standing, status, headers, socket)
  }

  onResponseStart(controller: DispatchController, status: number, headers: unknown, message?: string): void {
    if (this.#state === 'over') return
    // Interim answers, such as 103, promise nothing yet.
    if (status >= 200) this.#replied(controller)
    this.#outer.onResponseStart?.(this.#standing, status, headers, message)
  }

  onResponseData(_controller: DispatchController, chunk: unknown): void {
    if (this.#state === 'replied') this.#outer.onResponseData?.(this.#standing, chunk)
  }

  onResponseEnd(_controller: DispatchController, trailers: unknown): void {
    if (this.#state !== 'replied') return
    this.#state = 'over'
    this.#outer.onResponseEnd?.(this.#standing, trailers)
  }

  onResponseError(_controller: DispatchController, error: Error): void {
    const state = this.#state
    this.#state = 'over'
    if (state === 'replied') this.#outer.onResponseError?.(this.#standing, error)
    else if (state !== 'over') this.#end(this.#judge(error, state === 'sent'))
  }

  onResponseStarted(): void {
    if (this.#state !== 'over') this.#outer.onResponseStarted?.()
  }

  onBodySent(chunk: unknown): void {
    if (this.#state !== 'over') this.#outer.onBodySent?.(chunk)
  }

  onRequestSent(): void {
    if (this.#state !== 'over') this.#outer.onRequestSent?.()
  }

  #replied(controller: DispatchController): void {
    if (this.#state === 'over') return
    this.#state = 'replied'
    this.#standing.attached = controller
    this.#end({ outcome: 'replied', reply: undefined })
  }

  #giveUp(): void {
    if (this.#state === 'replied' || this.#state === 'over') return
    const sent = this.#state === 'sent'
    this.#state = 'over'
    const error: unknown = this.#attempt.signal.reason
    this.#inner?.abort(error as Error)
    this.#end({ outcome: sent ? 'lost' : 'unsent', error })
  }

  #end(end: AttemptEnd<undefined>): void {
    this.#attempt.signal.removeEventListener('abort', this.#onAbort)
    this.#resolve(end)
  }

  /** What undici fails with before a request starts never reached its server; afterwards it may have. */
  #judge(error: Error, sent: boolean): AttemptEnd<undefined> {
    const { code } = error as NodeJS.ErrnoException
    if (this.#body.failure !== undefined) return { outcome: 'failed', error: this.#body.failure.error }
    if (code !== undefined && (CALLERS_FAULT.has(code) || CLOSED.has(code))) return { outcome: 'failed', error }
    if (sent) return { outcome: 'lost', error }
    return { outcome: classifyError(error) === 'failure' ? 'unsent' : 'failed', error }
  }
}

/** A request on its way. */
export interface GuardedDispatch {
  /** Resolves when its reply has begun or its handler has been told that there will be none. */
  readonly answered: Promise<void>
  readonly abort: (reason: Error) => void
}

/** What requests of one dispatcher are sent through. */
export interface Passage {
  readonly guard: PartitionGuard
  /** The agent of the moment. */
  readonly agent: () => UndiciDispatcher
  readonly treat: ((request: EgressRequest) => EgressTreatment | undefined) | undefined
  /** What a request fails with that its caller aborts without a reason. */
  readonly aborted: () => Error
}

/** Sends one request. Whatever happens, its handler is told, and nothing is thrown. */
export function dispatchThroughGuard(
  passage: Passage,
  options: DispatchOptions,
  handler: DispatchHandler
): GuardedDispatch {
  const standing = new StandingController(passage.aborted)
  const body = requestBody(options.body)
  const fail = (error: unknown): void => {
    body.discard()
    try {
      handler.onResponseError?.(standing, error as Error)
    } catch {
      // It has heard, and there is nobody else to tell.
    }
  }
  const run = async (): Promise<void> => {
    handler.onRequestStart?.(standing, {})
    if (standing.reason !== null) throw standing.reason
    const request = outbound(passage, options, handler, standing, body)
    const outcome = await passage.guard.send(request, { signal: standing.giveUp.signal })
    if (outcome.outcome !== 'replied') fail(errorOf(outcome, plainOrigin(options.origin)))
  }
  return { answered: run().catch(fail), abort: (reason) => standing.abort(reason) }
}

function outbound(
  { agent, treat }: Passage,
  options: DispatchOptions,
  handler: DispatchHandler,
  standing: StandingController,
  body: RequestBody
): OutboundRequest<undefined> {
  const { method, path, upgrade } = options
  const origin = plainOrigin(options.origin)
  const headers = flatHeaders(options.headers)
  const carried = headerOf(headers, IDEMPOTENCY_KEY_HEADER)
  const { lane = origin, deadlineMs, ...treatment } = treat?.({ method, origin, path, idempotencyKey: carried }) ?? {}
  // One that is there, but cannot be a key, goes along and promises nothing.
  const key = carried === undefined ? treatment.idempotencyKey : isIdempotencyKey(carried) ? carried : undefined
  const added = carried === undefined && key !== undefined ? [IDEMPOTENCY_KEY_HEADER, key] : []
  // What becomes a connection of its own is no request that could be made again.
  const connects = (upgrade !== undefined && upgrade !== null && upgrade !== false) || method === 'CONNECT'
  return {
    ...(connects
      ? { policy: 'never' }
      : key === undefined
        ? { policy: treatment.policy ?? policyOfMethod(method) }
        : { policy: 'keyed', idempotencyKey: key }),
    lane,
    ...(body.streamed ? { load: (room) => body.load(room) } : { bytes: body.bytes }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    send: (attempt) =>
      new Promise((resolve) => {
        agent().dispatch(
          { ...options, headers: [...headers, ...added], body: body.forAttempt(attempt.room) },
          new AttemptHandler(handler, standing, attempt, body, resolve)
        )
      })
  }
}

/** Scheme, host and port. A name and a password in an origin are nobody's business in events and errors. */
const plainOrigin = (origin: DispatchOptions['origin']): string =>
  URL.canParse(String(origin)) ? new URL(String(origin)).origin : 'an unknown origin'

/** What the caller's handler is told. */
function errorOf(outcome: Exclude<SendOutcome<undefined>, { outcome: 'replied' }>, origin: string): unknown {
  switch (outcome.outcome) {
    case 'failed':
      return outcome.error
    case 'refused': {
      const { reason, sent, error } = outcome
      const message = `the network is away, and a request to ${origin} cannot wait for it: ${reason}`
      return new RuntimeError('REQUEST_REFUSED', message, { reason, sent }, { cause: error })
    }
    case 'expired': {
      const { limit, waitedMs, sent } = outcome
      const message = `a request to ${origin} has waited ${Math.round(waitedMs)} ms for the network, as long as its ${limit} allows`
      return new RuntimeError('REQUEST_EXPIRED', message, { limit, waitedMs, sent })
    }
    case 'reply-lost': {
      const message = `a request to ${origin} was sent, its reply was lost, and it must not be sent again`
      return new RuntimeError('REPLY_LOST', message, { origin }, { cause: outcome.error })
    }
  }
}
