import type { Clock, Usage } from '@enablement/core'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import { MeteringError } from '../metering-error.ts'
import type { QuotaHold } from '../quota/hold-handle.ts'
import type { ExtendOutcome, Refused, SettleOutcome } from '../quota/quota-outcome.ts'
import { type ModelStreamPart, type ModelUsage, tokensOfText } from './model-call.ts'

/** What the middleware tells its observer. */
export type ModelCallEvent =
  /** A call's hold ended. `estimated`: the model did not say what it used, or did not come to its end. */
  | {
      readonly type: 'model-call.settled'
      readonly callId: string
      readonly modelId: string
      readonly held: number
      readonly tokens: number
      readonly estimated: boolean
      readonly end: SettleOutcome
    }
  /** The sink did not take the usage: report it again. The quota has been charged. */
  | { readonly type: 'model-call.unrecorded'; readonly usage: Usage; readonly error: unknown }

/** What a call needs to be metered. */
export interface CallTerms {
  readonly callId: string
  readonly modelId: string
  readonly holdMs: number
  readonly onExceeded: 'continue' | 'stop'
  /** Tokens that the model reads, estimated. */
  readonly promptTokens: number
  tokensOf(usage: ModelUsage): number | undefined
  record(tokens: number, estimated: boolean): Promise<void>
  report(event: ModelCallEvent): void
  readonly clock: Clock
}

/** By how much more than was seen a hold is extended, so that a stream asks a few times and not with every word. */
const GROWTH = 1.5

/** One call of a model, from its hold to its settlement. */
export class MeteredCall {
  readonly #hold: QuotaHold
  readonly #terms: CallTerms
  #characters = 0
  #usage: ModelUsage | undefined
  #extendedAt: number
  /** What is held, or what could not be held: there is no asking for more before more than this was seen. */
  #covered: number
  #ended: Promise<void> | undefined

  constructor(hold: QuotaHold, terms: CallTerms) {
    this.#hold = hold
    this.#terms = terms
    this.#extendedAt = terms.clock.monotonic()
    this.#covered = hold.amount
  }

  /** Counts a part of a stream before it is passed on. Throws `QUOTA_EXCEEDED` where it should stop. */
  async see(part: ModelStreamPart): Promise<void> {
    const { clock, holdMs, promptTokens } = this.#terms
    if (part.type === 'finish') this.#usage = part.usage as ModelUsage
    else if (typeof part.delta === 'string') this.#characters += part.delta.length
    const seen = promptTokens + tokensOfText(this.#characters)
    if (seen > this.#covered) await this.#grow(seen)
    else if (clock.monotonic() - this.#extendedAt > holdMs / 2) await this.#extend()
  }

  async #grow(seen: number): Promise<void> {
    const { onExceeded } = this.#terms
    const wanted = Math.min(QUANTITY_MAX, Math.ceil(seen * GROWTH))
    const grown = await this.#extend(wanted)
    this.#covered = wanted
    if (grown.outcome !== 'refused') return
    // There may be enough for what has been said, though not for what may follow.
    const exact = await this.#extend(seen)
    if (exact.outcome === 'refused' && onExceeded === 'stop') throw quotaExceeded(exact)
    // Who stops must do so with the first word that is too much; who goes on need not ask with every word.
    if (onExceeded === 'stop') this.#covered = seen
    // A refusal gives no more time either.
    else if (exact.outcome === 'refused') await this.#extend()
  }

  #extend(amount?: number): Promise<ExtendOutcome> {
    const { holdMs, clock } = this.#terms
    this.#extendedAt = clock.monotonic()
    return this.#hold.extend(amount === undefined ? { ttlMs: holdMs } : { ttlMs: holdMs, amount })
  }

  /** The call came to its end. */
  finish(usage: ModelUsage): Promise<void> {
    this.#usage = usage
    return this.end()
  }

  /**
   * Settles, once: with what the model says it used, or else with what was read and said as far as it was seen. A call that
   * failed before it said anything has used nothing, unless its caller gave up on it: then it read the prompt.
   */
  end(ending: 'complete' | 'failed' | 'aborted' = 'complete'): Promise<void> {
    this.#ended ??= this.#settle(ending)
    return this.#ended
  }

  async #settle(ending: 'complete' | 'failed' | 'aborted'): Promise<void> {
    const { callId, modelId, promptTokens, tokensOf, record, report } = this.#terms
    const said = this.#usage === undefined ? undefined : tokensOf(this.#usage)
    const nothing = ending === 'failed' && this.#characters === 0
    const tokens = said ?? (nothing ? 0 : promptTokens + tokensOfText(this.#characters))
    const estimated = said === undefined && tokens > 0
    const held = this.#hold.amount
    const end = await this.#hold.commit(tokens)
    report({ type: 'model-call.settled', callId, modelId, held, tokens, estimated, end })
    if (tokens > 0) await record(tokens, estimated)
  }
}

/** The error that keeps a call from its model. */
export function quotaExceeded({ level, requested, remaining, retryAt }: Refused): MeteringError<'QUOTA_EXCEEDED'> {
  const { limit, path } = level
  return new MeteringError('QUOTA_EXCEEDED', `quota ${limit} has ${remaining} left, and the call needs ${requested}`, {
    limit,
    path,
    requested,
    remaining,
    retryAt
  })
}
