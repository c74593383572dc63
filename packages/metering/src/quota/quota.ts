import { hours, type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import { isIdentifier } from '../event/identifier.ts'
import { identifierSchema } from '../event/usage-event-schema.ts'
import { type MeteringError, storeFailure } from '../metering-error.ts'
import type { MeteringObserver } from '../metering-event.ts'
import { checkAmount } from './amount.ts'
import { type Limit, limitSchema } from './limit.ts'
import type { QuotaAnswer, QuotaStore } from './quota-store.ts'

/** Limits of one enforcer: each is a rule that someone wrote, not a customer. */
const LIMITS_MAX = 1_000

/** How long a spend is remembered under its key unless told otherwise: longer than any retry that still makes sense. */
const IDEMPOTENCY_MS = hours(24)

/** The longest memory for keys, in milliseconds: 400 days, a year and its late retries. */
const IDEMPOTENCY_MS_MAX = hours(24 * 400)

/** What is enforced, and where it is counted. */
export interface QuotasOptions {
  readonly store: QuotaStore
  readonly limits: readonly Limit[]
  /**
   * What a call may do when the store fails: `refuse` keeps the limit and stops the work, `allow` keeps the work going
   * and may exceed the limit. Either way the outcome says `unavailable`.
   */
  readonly onStoreFailure: 'refuse' | 'allow'
  /** How long a spend is remembered under its idempotency key, in milliseconds: 24 hours unless given. */
  readonly idempotencyMs?: number
  /** Is told of every decision. What it throws is ignored. */
  readonly observe?: MeteringObserver
  readonly platform?: Platform
}

/** Whose quota of which limit. */
export interface QuotaBinding {
  readonly tenant: string
  /** The name of a limit. One that is not declared is found out by `consume`, for names may come from a plan. */
  readonly limit: string
  /** A part of the tenant with a counter of its own, such as an agent; the tenant's own counter when absent. */
  readonly subject?: string
}

/** What became of an attempt to consume. Only `consumed`, and `unavailable` with `allowed`, let the work go on. */
export type ConsumeOutcome =
  /** The amount is spent. `replayed`: by an earlier call with this key, whose answer this is. */
  | {
      readonly outcome: 'consumed'
      readonly remaining: number
      /** When the full quantity is there again, epoch milliseconds; null when never. */
      readonly resetsAt: number | null
      readonly replayed: boolean
    }
  /** Nothing changed: less than `requested` remains. */
  | {
      readonly outcome: 'refused'
      /** Whose counter refused: the tenant's own or the bound subject's. */
      readonly level: 'tenant' | 'subject'
      readonly limit: string
      readonly requested: number
      readonly remaining: number
      /** When trying again may succeed, epoch milliseconds; null when waiting does not help. */
      readonly retryAt: number | null
    }
  /** No limit has this name. Nothing changed. */
  | { readonly outcome: 'unknown-limit'; readonly limit: string }
  /** The key was used for another amount, so one of the two calls is wrong. Nothing changed. */
  | { readonly outcome: 'conflict'; readonly requested: number; readonly firstAmount: number }
  /**
   * The store failed, and whether the amount is spent is not known; the same call again finds out. `allowed` is what
   * `onStoreFailure` says.
   */
  | { readonly outcome: 'unavailable'; readonly allowed: boolean; readonly error: MeteringError<'STORE_FAILED'> }

/** One counter of one limit. */
export interface Quota {
  /**
   * Spends `amount`, an integer in [1, 9e15], if that much remains; check and spend are one step. Called again with the
   * same key within `idempotencyMs`, it does not spend again and gives the first answer. A refusal changed nothing and is
   * not remembered: the same key may succeed once units are back.
   *
   * Throws `INVALID_AMOUNT`, `INVALID_OPTIONS` and the signal's reason.
   */
  consume(
    amount: number,
    options: { readonly idempotencyKey: string; readonly signal?: AbortSignal }
  ): Promise<ConsumeOutcome>
}

/** Enforces limits. */
export interface Quotas {
  /** The quota of one tenant or subject. Cheap, and keeps nothing open. Throws `INVALID_OPTIONS`. */
  bind(binding: QuotaBinding): Quota
}

const optionsSchema: z.ZodType<QuotasOptions> = z.strictObject({
  store: z.custom<QuotaStore>(
    (value) => typeof value === 'object' && value !== null && typeof (value as QuotaStore).consume === 'function',
    'must be a quota store, such as sqlQuotaStore(db)'
  ),
  limits: z
    .array(limitSchema)
    .min(1)
    .max(LIMITS_MAX)
    .refine(
      (limits) => new Set(limits.map(({ name }) => name)).size === limits.length,
      'two limits have the same name'
    ),
  onStoreFailure: z.enum(['refuse', 'allow']),
  idempotencyMs: z.number().int().min(1_000).max(IDEMPOTENCY_MS_MAX).exactOptional(),
  observe: z.custom<MeteringObserver>((value) => typeof value === 'function', 'must be a function').exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

const bindingSchema: z.ZodType<QuotaBinding> = z.strictObject({
  tenant: identifierSchema,
  limit: identifierSchema,
  subject: identifierSchema.exactOptional()
})

const consumeSchema = z.object({ idempotencyKey: identifierSchema })

/** Quotas over a store. Throws `INVALID_OPTIONS`. */
export function createQuotas(options: QuotasOptions): Quotas {
  const {
    store,
    limits,
    onStoreFailure,
    idempotencyMs = IDEMPOTENCY_MS,
    observe,
    platform = systemPlatform
  } = parseOptions(optionsSchema, 'createQuotas', options)
  const report = reporter(observe)
  const byName = new Map(limits.map((limit) => [limit.name, limit]))
  const allowed = onStoreFailure === 'allow'

  return {
    bind(binding) {
      const counter = parseOptions(bindingSchema, 'quotas.bind', binding)
      const { tenant, limit } = counter
      const rule = byName.get(limit)
      const level = counter.subject === undefined ? 'tenant' : 'subject'
      return {
        async consume(amount, consumeOptions) {
          checkAmount(amount)
          // Checked by hand, being on the hot path; the schema is asked only to say what is wrong.
          if (!isIdentifier(consumeOptions?.idempotencyKey))
            parseOptions(consumeSchema, 'quota.consume', consumeOptions)
          if (rule === undefined) return { outcome: 'unknown-limit', limit }
          const { idempotencyKey, signal } = consumeOptions
          const { quantity, period } = rule
          const startedAt = platform.clock.monotonic()
          let answer: QuotaAnswer
          try {
            answer = await store.consume(
              { ...counter, quantity, period, amount, idempotencyKey, idempotencyMs },
              signal === undefined ? {} : { signal }
            )
          } catch (error) {
            const failure = storeFailure('consume from a quota', error, signal)
            if (failure === undefined) throw error
            report({ type: 'quota.unavailable', tenant, limit, amount, allowed, error: failure })
            return { outcome: 'unavailable', allowed, error: failure }
          }
          if (answer.outcome === 'conflict') {
            report({ type: 'quota.conflicted', tenant, limit, amount, firstAmount: answer.firstAmount })
            return { ...answer, requested: amount }
          }
          const { remaining } = answer
          const elapsedMs = platform.clock.monotonic() - startedAt
          if (answer.outcome === 'consumed') {
            const { replayed } = answer
            report({ type: 'quota.consumed', tenant, limit, amount, remaining, replayed, elapsedMs })
            return answer
          }
          report({ type: 'quota.refused', tenant, limit, amount, remaining, elapsedMs })
          // Waiting does not help when the whole quantity is less than what was asked for.
          const retryAt = amount <= quantity ? answer.resetsAt : null
          return { outcome: 'refused', level, limit, requested: amount, remaining, retryAt }
        }
      }
    }
  }
}
