import {
  type BreakerRejection,
  backoffMs,
  classifyError,
  createTimeout,
  isSuiteError,
  type Platform
} from '@enablement/core'
import type { Addressee, DeliveryOutcome } from '../channel/channel.ts'
import { answerOf } from './answer.ts'
import type { WebhookEndpoint } from './endpoint.ts'
import type { EndpointStanding } from './endpoint-standing.ts'
import { signatureHeader } from './signature.ts'
import type { WebhookEvent } from './webhook-event.ts'
import type { WebhookMessage } from './webhook-payload.ts'
import type { WebhookTransport } from './webhook-transport.ts'

/** A message on its way to an approver's endpoint. */
export interface Dispatch {
  readonly approver: Addressee
  readonly message: WebhookMessage
  /** From 1. */
  readonly attempt: number
  /** When the next tier is asked, in epoch milliseconds. */
  readonly escalatesAt: number | undefined
}

/** Attempts to deliver to an endpoint, and says what follows. */
export interface Attempts {
  run(
    dispatch: Dispatch,
    to: { readonly endpoint: WebhookEndpoint; readonly standing: EndpointStanding },
    signal: AbortSignal
  ): Promise<DeliveryOutcome>
  /** Whether an endpoint that fails, if it does, may be waited for. */
  mayWait(standing: EndpointStanding, afterMs: number, escalatesAt: number | undefined): boolean
}

interface AttemptsOptions {
  readonly transport: WebhookTransport
  readonly timeoutMs: number
  /** When an endpoint has failed for this long without a success, it counts as unreachable. */
  readonly unreachableAfterMs: number
  readonly platform: Platform
  readonly report: (event: WebhookEvent) => void
}

/** The pause before the second attempt, and the longest. */
const PAUSES = { jitter: 'equal', baseMs: 1_000, maxMs: 15_000 } as const
/** How soon to ask again while somebody else probes: most probes end at once. */
const PROBE_WAIT_MS = 1_000
const SPREAD_MS = 1_000
/** Standard Webhooks 1.0: an endpoint that says 410 is disabled. Where that is kept is the directory's business. */
const GONE_MS = 86_400_000

export function createAttempts(options: AttemptsOptions): Attempts {
  const { transport, unreachableAfterMs, platform, report } = options
  const { clock, random } = platform
  const timeout = createTimeout({ timeoutMs: options.timeoutMs, platform })

  // A wait of more than half of what the tier has left would take it from the approver's other channels.
  const mayWait: Attempts['mayWait'] = ({ outage }, afterMs, escalatesAt) => {
    const failingMs = outage === undefined ? 0 : clock.monotonic() - outage.since
    if (failingMs + afterMs > unreachableAfterMs) return false
    return escalatesAt === undefined || afterMs <= (escalatesAt - clock.now()) / 2
  }

  /**
   * Puts down that the endpoint fails, by its own answer or by its breaker's, which may have it from another process. An
   * outage of which nothing has been heard for long is over and this is another one, unless a probe found it.
   */
  const noteFailure = (standing: EndpointStanding, isProbe: boolean): void => {
    const now = clock.monotonic()
    const { outage } = standing
    const goesOn = outage !== undefined && (isProbe || now - outage.lastAt <= unreachableAfterMs)
    standing.outage = { since: goesOn ? outage.since : now, lastAt: now }
  }

  /** A little apart, so that those who were put off together do not come back together. */
  const apart = (waitMs: number): number => Math.ceil(waitMs + random.float() * SPREAD_MS)

  const askAgainMs = ({ reason, retryAfterMs }: BreakerRejection): number =>
    apart(reason === 'probing' ? Math.min(retryAfterMs, PROBE_WAIT_MS) : retryAfterMs)

  const post = ({ url, secrets }: WebhookEndpoint, { id, body }: WebhookMessage, signal: AbortSignal) => {
    const timestamp = String(Math.floor(clock.now() / 1_000))
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'enablement-oversight/1',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': signatureHeader(secrets, { id, timestamp }, body)
    }
    return timeout.execute((call) => transport.post(url, { headers, body }, { signal: call.signal }), { signal })
  }

  const run: Attempts['run'] = async ({ approver, message, attempt, escalatesAt }, to, signal) => {
    const { endpoint, standing } = to
    const { breaker, name } = standing
    const about = { endpoint: name, approver: approver.id }

    const waiting = (outcome: 'retry' | 'postponed', reason: string, afterMs: number) =>
      mayWait(standing, afterMs, escalatesAt)
        ? ({ outcome, reason, afterMs } as const)
        : ({ outcome: 'unreachable', reason } as const)

    if (clock.monotonic() < standing.goneUntil) return { outcome: 'unreachable', reason: 'HTTP_410' }
    const heldMs = standing.heldUntil - clock.monotonic()
    if (heldMs > 0) return waiting('postponed', 'asked to wait', apart(heldMs))
    const leave = await (breaker.admit === undefined ? breaker.acquire() : breaker.admit({ signal }))
    if (leave.outcome === 'rejected') {
      if (leave.reason !== 'ramping') noteFailure(standing, false)
      return waiting('postponed', `breaker ${leave.reason}`, askAgainMs(leave))
    }

    const failed = (reason: string, { throttled = false, retryAfterMs = 0 } = {}): DeliveryOutcome => {
      noteFailure(standing, leave.probe)
      const heldMs = Math.min(retryAfterMs, unreachableAfterMs)
      standing.heldUntil = Math.max(standing.heldUntil, clock.monotonic() + heldMs)
      const afterMs = Math.ceil(retryAfterMs + backoffMs(PAUSES, attempt, 0, random))
      const outcome = waiting(throttled ? 'postponed' : 'retry', reason, afterMs)
      report({ type: 'webhook.failed', ...about, reason, next: outcome.outcome })
      return outcome
    }
    const unreachable = (reason: string): DeliveryOutcome => {
      report({ type: 'webhook.failed', ...about, reason, next: 'unreachable' })
      return { outcome: 'unreachable', reason }
    }

    const startedAt = clock.monotonic()
    try {
      const reply = await post(endpoint, message, signal)
      const durationMs = clock.monotonic() - startedAt
      if (reply.outcome === 'refused') {
        breaker.release(leave)
        report({ type: 'webhook.refused', approver: approver.id, because: reply.because })
        return { outcome: 'unreachable', reason: reply.because }
      }
      const answer = answerOf(reply.status, reply.retryAfter, clock.now())
      const reason = `HTTP_${reply.status}`
      switch (answer.meaning) {
        case 'taken':
          breaker.succeed(leave, durationMs)
          standing.outage = undefined
          report({ type: 'webhook.delivered', ...about, durationMs })
          return { outcome: 'delivered', receipt: message.reference }
        case 'failed':
          breaker.fail(leave, durationMs)
          return failed(reason, answer)
        case 'gone':
          breaker.release(leave)
          standing.goneUntil = clock.monotonic() + GONE_MS
          report({ type: 'webhook.endpoint-gone', ...about })
          return unreachable(reason)
        case 'declined':
          breaker.release(leave)
          return unreachable(reason)
      }
    } catch (error) {
      // That the caller no longer wants it, or that this process stood still, is not the endpoint's doing.
      const gaveUp = signal.aborted && !isTimeout(signal.reason)
      if (gaveUp || isStall(error)) breaker.release(leave)
      else breaker.fail(leave, clock.monotonic() - startedAt)
      if (gaveUp) throw error
      return failed(codeOf(error))
    }
  }

  return { run, mayWait }
}

/** Codes of errors, and nothing that could quote a URL. */
const CODE = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/

/** A code for what was thrown: its own, that of its cause, or the name of its class. */
function codeOf(error: unknown): string {
  const { code, cause, name } = (error ?? {}) as {
    readonly code?: unknown
    readonly cause?: { readonly code?: unknown } | null
    readonly name?: unknown
  }
  return (
    [code, cause?.code, name].find((one): one is string => typeof one === 'string' && CODE.test(one)) ?? 'UNSPECIFIED'
  )
}

/** Somebody waited for as long as they were willing to, which is the endpoint's doing. */
function isTimeout(reason: unknown): boolean {
  return (
    isSuiteError(reason, 'TIMED_OUT') || (reason as { readonly name?: unknown } | undefined)?.name === 'TimeoutError'
  )
}

const isStall = (error: unknown): boolean => isSuiteError(error, 'TIMED_OUT') && classifyError(error) === 'ignored'
