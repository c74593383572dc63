import {
  createIdSource,
  minutes,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform,
  type UsageSink
} from '@enablement/core'
import { z } from 'zod'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { identifierSchema } from '../event/usage-event-schema.ts'
import { MeteringError } from '../metering-error.ts'
import { callable, isFunction } from '../option-checks.ts'
import type { Quota } from '../quota/quota.ts'
import { HOLD_MS_MAX } from '../quota/quota-options.ts'
import { MeteredCall, type ModelCallEvent, quotaExceeded } from './metered-call.ts'
import { meteredStream } from './metered-stream.ts'
import { type CalledModel, type ModelCall, type ModelStreamPart, type ModelUsage, promptTokens } from './model-call.ts'

/** What a call is taken to say when it sets no bound itself. */
const OUTPUT_TOKENS_MAX = 4_096

/** A hold is extended while a stream goes on; one that nobody extends is that of a process that is gone. */
const HOLD_MS = minutes(10)

/** Where usage is reported to, and as what. */
export interface UsageRecording {
  /** Such as a meter. It is told once for each call, with the call's id as the transaction id. */
  readonly sink: UsageSink
  readonly tenant: string
  readonly subscription: string
  readonly metric: string
}

export interface MeteringMiddlewareOptions {
  /** Whose quota, in tokens; one that is found for each call may tell tenants apart. */
  readonly quota: Quota | ((call: ModelCall) => Quota | PromiseLike<Quota>)
  /**
   * What becomes of a stream that says more than its quota has left. `continue`: it goes on, and what is beyond is booked
   * as overrun. `stop`: it ends with `QUOTA_EXCEEDED`, and what it said until then is booked.
   */
  readonly onExceeded: 'continue' | 'stop'
  /** Tokens that a call is taken to say when it sets no `maxOutputTokens`; 4,096 unless given. */
  readonly outputTokensMax?: number
  /** Tokens that are held for a call, in place of its prompt's, estimated, and its most output. At least 1. */
  readonly estimate?: (call: ModelCall) => number
  /** Tokens that a call has used, where not all cost the same; input and output together unless given. */
  readonly tokens?: (usage: ModelUsage) => number
  /** How long a hold lasts without a sign of life, in milliseconds; 10 minutes unless given. */
  readonly holdMs?: number
  readonly record?: UsageRecording
  /** Is told how each call was settled. What it throws is ignored. */
  readonly observe?: (event: ModelCallEvent) => void
  readonly platform?: Platform
}

/** A `LanguageModelMiddleware` of the SDK, for `wrapLanguageModel({ model, middleware })`. */
export interface MeteringMiddleware {
  readonly specificationVersion: 'v4'
  wrapGenerate<Result extends { readonly usage: ModelUsage }>(options: {
    readonly doGenerate: () => PromiseLike<Result>
    readonly params: ModelCall
    readonly model: CalledModel
  }): Promise<Result>
  wrapStream<Part extends ModelStreamPart, Result extends { stream: ReadableStream<Part> }>(options: {
    readonly doStream: () => PromiseLike<Result & { stream: ReadableStream<Part> }>
    readonly params: ModelCall
    readonly model: CalledModel
  }): Promise<Result>
}

const middlewareOptions: z.ZodType<MeteringMiddlewareOptions> = z.strictObject({
  quota: z.custom<MeteringMiddlewareOptions['quota']>(
    (value) => isFunction(value) || isFunction((value as Partial<Quota> | null)?.hold),
    'must be a quota, or a function that gives one'
  ),
  onExceeded: z.enum(['continue', 'stop']),
  outputTokensMax: z.number().int().min(1).max(QUANTITY_MAX).exactOptional(),
  estimate: callable<(call: ModelCall) => number>().exactOptional(),
  tokens: callable<(usage: ModelUsage) => number>().exactOptional(),
  holdMs: z.number().int().min(1).max(HOLD_MS_MAX).exactOptional(),
  record: z
    .strictObject({
      sink: z.custom<UsageSink>((value) => isFunction((value as Partial<UsageSink> | null)?.accept), 'must be a sink'),
      tenant: identifierSchema,
      subscription: identifierSchema,
      metric: identifierSchema
    })
    .exactOptional(),
  observe: callable<(event: ModelCallEvent) => void>().exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Holds tokens before each call of a model and settles with what it really used after: also for streams, those that fail
 * and those that are given up on. A call that its quota has no room for throws `QUOTA_EXCEEDED` and does not reach the
 * model; one without a decision throws `QUOTA_UNDECIDED`, unless the posture of the quotas lets it go on.
 *
 * Throws `INVALID_OPTIONS`.
 */
export function meteringMiddleware(options: MeteringMiddlewareOptions): MeteringMiddleware {
  const parsed = parseOptions(middlewareOptions, 'meteringMiddleware', options)
  const { quota: whose, onExceeded, outputTokensMax = OUTPUT_TOKENS_MAX, estimate, tokens } = parsed
  const { holdMs = HOLD_MS, record: recording, observe, platform = systemPlatform } = parsed
  const newId = createIdSource(platform)
  const report = reporter(observe)
  const { clock } = platform

  const tokensOf = (usage: ModelUsage): number | undefined => {
    if (tokens !== undefined) return quantity(tokens(usage))
    const { inputTokens, outputTokens } = usage
    if (inputTokens.total === undefined && outputTokens.total === undefined) return undefined
    return quantity((inputTokens.total ?? 0) + (outputTokens.total ?? 0))
  }

  const recordOf =
    (callId: string, model: CalledModel) =>
    async (used: number, estimated: boolean): Promise<void> => {
      if (recording === undefined) return
      const { sink, tenant, subscription, metric } = recording
      const properties = { provider: model.provider, model: model.modelId, estimated }
      const usage = { tenant, subscription, transactionId: callId, metric, quantity: used, at: clock.now(), properties }
      try {
        await sink.accept(usage)
      } catch (error) {
        // The model has answered and its answer is paid for: to throw it away would make it no less used.
        report({ type: 'model-call.unrecorded', usage, error })
      }
    }

  const begin = async (params: ModelCall, model: CalledModel): Promise<MeteredCall> => {
    const quota = typeof whose === 'function' ? await whose(params) : whose
    const read = promptTokens(params)
    const most = estimate?.(params) ?? read + (params.maxOutputTokens ?? outputTokensMax)
    const callId = newId()
    const { abortSignal } = params
    const signal = abortSignal === undefined ? {} : { signal: abortSignal }
    const outcome = await quota.hold(Math.max(1, quantity(most)), { ttlMs: holdMs, idempotencyKey: callId, ...signal })
    if (outcome.outcome === 'refused') throw quotaExceeded(outcome)
    const hold = 'hold' in outcome ? outcome.hold : undefined
    if (hold === undefined) throw undecided(outcome.outcome)
    return new MeteredCall(hold, {
      callId,
      modelId: model.modelId,
      holdMs,
      onExceeded,
      promptTokens: read,
      tokensOf,
      record: recordOf(callId, model),
      report,
      clock
    })
  }

  /** Runs the call; its hold is settled when it fails. */
  const during = async <T>(call: MeteredCall, params: ModelCall, work: () => PromiseLike<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      await call.end(params.abortSignal?.aborted === true ? 'aborted' : 'failed')
      throw error
    }
  }

  return {
    specificationVersion: 'v4',
    async wrapGenerate({ doGenerate, params, model }) {
      const call = await begin(params, model)
      const result = await during(call, params, doGenerate)
      await call.finish(result.usage)
      return result
    },
    async wrapStream({ doStream, params, model }) {
      const call = await begin(params, model)
      const result = await during(call, params, doStream)
      const stream = meteredStream(result.stream, call, () => params.abortSignal?.aborted === true)
      return { ...result, stream }
    }
  }
}

/** A count of tokens as a quota has it: a provider's count that is none (NaN, a fraction) must not stop the call. */
function quantity(tokens: number): number {
  return Number.isNaN(tokens) ? 0 : Math.min(QUANTITY_MAX, Math.max(0, Math.ceil(tokens)))
}

function undecided(outcome: string): MeteringError<'QUOTA_UNDECIDED'> {
  return new MeteringError('QUOTA_UNDECIDED', `there is no hold for the call: ${outcome}`, { outcome })
}
