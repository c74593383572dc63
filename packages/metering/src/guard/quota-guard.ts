import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import { MeteringError } from '../metering-error.ts'
import { callable, isFunction } from '../option-checks.ts'
import type { QuotaHold } from '../quota/hold-handle.ts'
import type { Quota } from '../quota/quota.ts'
import { HOLD_MS_MAX } from '../quota/quota-options.ts'
import type { ConsumeOutcome, Refused } from '../quota/quota-outcome.ts'
import { keyConflict, quotaExceeded, quotaUndecided } from './quota-problem.ts'
import { rateLimitField, type Standing, withRateLimit } from './rate-limit-fields.ts'

export interface QuotaGuardOptions {
  /** Whose quota a request draws on; by the request, whose sender has been authenticated before. */
  readonly quota: Quota | ((request: Request) => Quota | PromiseLike<Quota>)
  /** The limit's name, for the `RateLimit` field of responses. */
  readonly limit: string
  /** What a request consumes, or holds; 1 unless given. */
  readonly amount?: number | ((request: Request) => number | PromiseLike<number>)
  /**
   * Names the request, so that its retry consumes once. Whoever chooses the key can have a second request served for the
   * first one's units: give one only where the handler answers such a retry from what it remembers, or none, as without it.
   */
  readonly idempotencyKey?: (request: Request) => string | undefined
  /**
   * Holds the amount around the handler in place of consuming it before: `actual` tells from the response what was used.
   * Without it, everything held is used by a response below 500, and nothing otherwise.
   */
  readonly hold?: {
    readonly ttlMs: number
    readonly actual?: (response: Response, request: Request) => number | PromiseLike<number>
  }
  readonly platform?: Platform
}

/** Puts the quota before a handler. */
export type QuotaGuard = <Rest extends readonly unknown[]>(
  handler: (request: Request, hold: QuotaHold | undefined, ...rest: Rest) => Response | PromiseLike<Response>
) => (request: Request, ...rest: Rest) => Promise<Response>

const guardOptions: z.ZodType<QuotaGuardOptions> = z.strictObject({
  quota: z.custom<QuotaGuardOptions['quota']>(
    (value) => isFunction(value) || isFunction((value as Partial<Quota> | null)?.consume),
    'must be a quota, or a function that gives one'
  ),
  limit: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be the name of a limit'),
  amount: z
    .custom<NonNullable<QuotaGuardOptions['amount']>>(
      (value) => isFunction(value) || Number.isInteger(value),
      'must be an integer or a function'
    )
    .exactOptional(),
  idempotencyKey: callable<NonNullable<QuotaGuardOptions['idempotencyKey']>>().exactOptional(),
  hold: z
    .strictObject({
      ttlMs: z.number().int().min(1).max(HOLD_MS_MAX),
      actual: callable<(response: Response, request: Request) => number>().exactOptional()
    })
    .exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * A guard for handlers of the Fetch API's kind. Over the quota it answers 429 with a problem document (RFC 9457), and
 * `Retry-After` where waiting helps; where the store gives no decision and the posture refuses, 503. Responses that pass
 * carry the `RateLimit` field of draft-ietf-httpapi-ratelimit-headers-10, where the store said how the quota stands.
 *
 * A limit that nobody declared is a fault of the service, and throws `QUOTA_UNDECIDED`. Throws `INVALID_OPTIONS`.
 */
export function quotaGuard(options: QuotaGuardOptions): QuotaGuard {
  const {
    quota: whose,
    limit,
    amount: howMuch = 1,
    idempotencyKey,
    hold: holding,
    platform = systemPlatform
  } = parseOptions(guardOptions, 'quotaGuard', options)
  const now = (): number => platform.clock.now()

  const refusalOf = (refused: Refused): Response => {
    const { level, remaining, retryAt } = refused
    const standing: Standing = { limit: level.limit, remaining, resetsAt: retryAt }
    return withRateLimit(quotaExceeded(refused, now()), rateLimitField(standing, now()))
  }

  /** What keeps the request out; undefined when it may pass. */
  const refusal = (outcome: Exclude<ConsumeOutcome, { outcome: 'consumed' }>): Response | undefined => {
    if (outcome.outcome === 'refused') return refusalOf(outcome)
    if (outcome.outcome === 'unavailable') return outcome.allowed ? undefined : quotaUndecided(outcome)
    if (outcome.outcome === 'conflict') return keyConflict('another amount was asked for under it')
    throw undeclared(outcome.limit)
  }

  return (handler) =>
    async (request, ...rest) => {
      const quota = isFunction(whose)
        ? await (whose as (request: Request) => Quota | PromiseLike<Quota>)(request)
        : (whose as Quota)
      const amount = typeof howMuch === 'function' ? await howMuch(request) : howMuch
      const key = idempotencyKey?.(request)
      const { signal } = request
      const keyed = key === undefined ? {} : { idempotencyKey: key }
      if (holding === undefined) {
        const outcome = await quota.consume(amount, { ...keyed, signal })
        if (outcome.outcome !== 'consumed') return refusal(outcome) ?? (await handler(request, undefined, ...rest))
        const { remaining, resetsAt } = outcome
        const field = rateLimitField({ limit, remaining, resetsAt }, now())
        return withRateLimit(await handler(request, undefined, ...rest), field)
      }
      const { ttlMs, actual = usedBelow500(amount) } = holding
      const done = await quota.withHold(amount, { ttlMs, ...keyed, signal }, (hold) => around(hold))
      if (done.outcome === 'done') return done.value
      if (done.outcome === 'settled') return keyConflict('the request that it names has ended')
      return refusal(done) as Response

      async function around(hold: QuotaHold): Promise<Response> {
        const response = await handler(request, hold, ...rest)
        await hold.commit(await actual(response, request))
        return response
      }
    }
}

const usedBelow500 =
  (amount: number) =>
  (response: Response): number =>
    response.status < 500 ? amount : 0

function undeclared(limit: string): MeteringError<'QUOTA_UNDECIDED'> {
  return new MeteringError('QUOTA_UNDECIDED', `no limit is named ${limit}: the request was not let through`, {
    outcome: 'unknown-limit'
  })
}
