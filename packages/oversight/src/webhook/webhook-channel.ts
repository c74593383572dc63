import {
  CoreError,
  createCircuitBreaker,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import { z } from 'zod'
import type { Addressee, Channel, DeliveryOutcome, Invitation } from '../channel/channel.ts'
import { OversightError } from '../oversight-error.ts'
import { createAttempts, type Dispatch } from './attempt.ts'
import { parseEndpoint, type WebhookEndpoint } from './endpoint.ts'
import { type EndpointBreaker, type EndpointStanding, endpointStandings } from './endpoint-standing.ts'
import { guardedTransport } from './guarded-transport.ts'
import type { WebhookEvent } from './webhook-event.ts'
import { digestMessage, invitationMessage, noticeMessage } from './webhook-payload.ts'
import type { WebhookTransport } from './webhook-transport.ts'

/** Whose endpoint is looked for. */
export interface EndpointQuestion {
  readonly approver: string
  readonly signal: AbortSignal
}

export interface WebhookChannelOptions {
  /**
   * The endpoint behind an approver's address on this channel, which may be a URL or a name of yours; undefined when
   * there is none. Asked for every attempt, so that a rotated secret counts at once. A throw means that it did not answer.
   */
  readonly endpointOf: (
    address: string,
    question: EndpointQuestion
  ) => WebhookEndpoint | undefined | Promise<WebhookEndpoint | undefined>
  /** `guardedTransport()` unless given. */
  readonly transport?: WebhookTransport
  /** How long one attempt may take; 9,000 ms unless given, at most 15,000. */
  readonly attemptTimeoutMs?: number
  /** When an endpoint has failed for this long without a success, it counts as unreachable; 60,000 ms unless given. */
  readonly unreachableAfterMs?: number
  /**
   * Makes the breaker of an endpoint: one that all workers share, for instance. It is closed when the endpoint is
   * forgotten. Its `probeLeaseMs` must not be shorter than an attempt. Unless given: open after 5 failures in a row, for
   * 5 s and up to 60 s, one probe.
   */
  readonly breakerOf?: (name: string) => EndpointBreaker
  /** Endpoints remembered at once, each with its breaker; 1,000 unless given. */
  readonly endpointsMax?: number
  /** Where a person sees and decides a request, for the payload: `createDecisionLinks` has it. */
  readonly linksOf?: (invitation: Invitation) => { readonly open: string }
  readonly platform?: Platform
  /** What it throws is dropped: a report must not cost the message. */
  readonly observe?: (event: WebhookEvent) => void
}

/** A channel that calls approvers' webhooks. */
export interface WebhookChannel extends Required<Channel>, AsyncDisposable {
  /** Closes the breakers that `breakerOf` made. Nothing is delivered after it: calls throw `CLOSED`. */
  close(): Promise<void>
}

/**
 * Attempts of one invitation. Time decides before this number does: with the pauses between them eight attempts take a
 * minute, after which an endpoint that fails counts as unreachable anyway.
 */
const ATTEMPTS_MAX = 8
/** Less than the 10 s that the kernel gives an attempt, so that it ends here, as a failure of this endpoint. */
const ATTEMPT_TIMEOUT_MS = 9_000
/** Standard Webhooks 1.0 asks for 15 to 30 s; approvers wait meanwhile. */
const ATTEMPT_TIMEOUT_MAX_MS = 15_000
const UNREACHABLE_AFTER_MS = 60_000
/** Some 2 MB with their breakers. */
const ENDPOINTS_MAX = 1_000
const FAILURES_MAX = 5
/** How much longer than an attempt its probe's lease lasts, for a process that is slow to report. */
const LEASE_MARGIN_MS = 5_000
/** Until one of the endpoints that are kept is idle. */
const CROWDED_MS = 1_000

const isFunction = (value: unknown): boolean => typeof value === 'function'

const optionsSchema: z.ZodType<WebhookChannelOptions> = z.strictObject({
  endpointOf: z.custom<WebhookChannelOptions['endpointOf']>(isFunction, 'must be a function'),
  transport: z
    .custom<WebhookTransport>((value) => typeof value === 'object' && value !== null && 'post' in value)
    .exactOptional(),
  attemptTimeoutMs: z.number().min(1).max(ATTEMPT_TIMEOUT_MAX_MS).exactOptional(),
  unreachableAfterMs: z.number().min(1).max(86_400_000).exactOptional(),
  breakerOf: z
    .custom<NonNullable<WebhookChannelOptions['breakerOf']>>(isFunction, 'must be a function')
    .exactOptional(),
  endpointsMax: z.int().min(1).max(100_000).exactOptional(),
  linksOf: z.custom<NonNullable<WebhookChannelOptions['linksOf']>>(isFunction, 'must be a function').exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: WebhookEvent) => void>(isFunction, 'must be a function').exactOptional()
})

/**
 * Brings invitations to webhooks, signed as Standard Webhooks 1.0 has it. Retries fit inside the wait of the tier: an
 * endpoint that fails for `unreachableAfterMs`, or asks for a pause of more than half of what is left, is `unreachable`,
 * and the approver's next channel is used. While an endpoint's breaker is open its messages are `postponed`, which is no
 * attempt, and one of them probes. Throws `INVALID_OPTIONS`.
 */
export function webhookChannel(options: WebhookChannelOptions): WebhookChannel {
  const parsed = parseOptions(optionsSchema, 'webhookChannel', options)
  const { endpointOf, transport = guardedTransport(), linksOf, platform = systemPlatform } = parsed
  const { attemptTimeoutMs: timeoutMs = ATTEMPT_TIMEOUT_MS, unreachableAfterMs = UNREACHABLE_AFTER_MS } = parsed
  const { clock } = platform
  const report = reporter(parsed.observe)
  const attempts = createAttempts({ transport, timeoutMs, unreachableAfterMs, platform, report })
  const ownBreakerOf = (name: string): EndpointBreaker =>
    createCircuitBreaker({
      name,
      window: { kind: 'consecutive', failures: FAILURES_MAX },
      probeLeaseMs: timeoutMs + LEASE_MARGIN_MS,
      platform,
      observe: report
    })
  const { endpointsMax: standingsMax = ENDPOINTS_MAX, breakerOf = ownBreakerOf } = parsed
  const standings = endpointStandings({ standingsMax, breakerOf })
  const openUrlOf = (invitation: Invitation): string | undefined => linksOf?.(invitation).open
  let closed = false

  /** The endpoint of an approver, or why there is none to call. */
  const find = async (approver: Addressee, signal: AbortSignal): Promise<WebhookEndpoint | string> => {
    if (closed) throw new CoreError('CLOSED', 'the webhook channel was closed', { what: 'webhook channel' })
    const found = await endpointOf(approver.address, { approver: approver.id, signal })
    const refuse = (because: 'unknown-endpoint' | 'malformed-endpoint'): string => {
      report({ type: 'webhook.refused', approver: approver.id, because })
      return because
    }
    if (found === undefined) return refuse('unknown-endpoint')
    try {
      return parseEndpoint(found)
    } catch {
      return refuse('malformed-endpoint')
    }
  }

  const send = async (dispatch: Dispatch, signal: AbortSignal): Promise<DeliveryOutcome> => {
    const endpoint = await find(dispatch.approver, signal)
    if (typeof endpoint === 'string') return { outcome: 'unreachable', reason: endpoint }
    const standing = standings.of(endpoint.url)
    if (standing === undefined) return { outcome: 'postponed', reason: 'too many endpoints', afterMs: CROWDED_MS }
    standing.running += 1
    try {
      return await attempts.run(dispatch, { endpoint, standing }, signal)
    } finally {
      standing.running -= 1
    }
  }

  /** Whether there is any point in trying. A break that is over needs somebody to probe. */
  const isShut = (standing: EndpointStanding): boolean => {
    if (clock.monotonic() < standing.goneUntil) return true
    const { state } = standing.breaker
    return (state === 'open' || state === 'forced-open') && !attempts.mayWait(standing, 0, undefined)
  }

  const close = async (): Promise<void> => {
    closed = true
    await standings.close()
  }

  return {
    attemptsMax: ATTEMPTS_MAX,
    async reachability(approver, { signal }) {
      const endpoint = await find(approver, signal)
      if (typeof endpoint === 'string') return { outcome: 'unreachable', reason: endpoint }
      const standing = standings.of(endpoint.url)
      return standing !== undefined && isShut(standing)
        ? { outcome: 'unreachable', reason: 'the endpoint is down' }
        : { outcome: 'reachable' }
    },
    async deliver(invitation, { signal }) {
      const { approver, attempt, escalatesAt } = invitation
      const message = invitationMessage(invitation, clock.now(), openUrlOf)
      return send({ approver, message, attempt, escalatesAt }, signal)
    },
    async digest(digest, { signal }) {
      const { approver, invitations } = digest
      const message = digestMessage(digest, clock.now(), openUrlOf)
      const ends = invitations.flatMap(({ escalatesAt }) => (escalatesAt === undefined ? [] : [escalatesAt]))
      const escalatesAt = ends.length === 0 ? undefined : Math.min(...ends)
      const attempt = Math.max(1, ...invitations.map((invitation) => invitation.attempt))
      return send({ approver, message, attempt, escalatesAt }, signal)
    },
    async update(notice, { signal }) {
      const { approver } = notice
      const message = noticeMessage(notice, clock.now())
      const sent = await send({ approver, message, attempt: 1, escalatesAt: undefined }, signal)
      // Whoever cannot be reached has nothing to be corrected; for the others it is tried again.
      if (sent.outcome === 'delivered' || sent.outcome === 'unreachable') return
      const { reason, afterMs } = sent
      throw new OversightError('CHANNEL_FAILED', `a webhook was not told of a verdict: ${reason}`, {
        reason,
        ...(afterMs === undefined ? {} : { retryAfterMs: afterMs })
      })
    },
    close,
    [Symbol.asyncDispose]: close
  }
}
