import { type CircuitBreakerOptions, hours, type Platform } from '@enablement/core'
import { z } from 'zod'
import { identifierSchema } from '../event/usage-event-schema.ts'
import type { MeteringObserver } from '../metering-event.ts'
import { callable, hasMethods, isFunction } from '../option-checks.ts'
import { LEVELS_MAX, type Limit, limitSchema, PATH_LENGTH_MAX, pathSchema } from './limit.ts'
import type { QuotaStore } from './quota-store.ts'

/** Limits of one enforcer: each is a rule that someone wrote, not a customer. */
const LIMITS_MAX = 1_000

/** The longest memory for keys, in milliseconds: 400 days, a year and its late retries. */
const IDEMPOTENCY_MS_MAX = hours(24 * 400)

/** Longer ones would withhold units for as long after a crash; a hold is for work that takes its time. */
const LEASE_MS_MAX = hours(1)

const UNITS_MAX = 1_000_000_000

/** The longest hold: a month, for work that waits for people. */
export const HOLD_MS_MAX = hours(24 * 31)

/**
 * What a plan says: the limit of that name, for tenants who differ. Called before each store call, so it answers from memory.
 */
export type LimitLookup = (tenant: string, name: string) => Limit | undefined

/** How units are leased for `tryConsume`. */
export interface LeaseOptions {
  /**
   * What becomes of the units of a process that is gone. `spent`, unless given: they count as used until the window ends,
   * so nothing is ever sold twice. `returned`: they come back when the lease ends; what the dead process used of them may
   * be sold a second time.
   */
  readonly onLost?: 'spent' | 'returned'
  /** The most units of one lease; 1,000 unless given. */
  readonly unitsMax?: number
  /** How long a lease lasts; 10,000 ms unless given, 100 ms to an hour. A changed limit is felt within as long. */
  readonly ttlMs?: number
}

/** What is enforced, and where it is counted. */
export interface QuotasOptions {
  readonly store: QuotaStore
  /** A list for everybody, or a lookup. Of a lookup, a limit is compiled anew when it returns another object. */
  readonly limits: readonly Limit[] | LimitLookup
  /**
   * What a call may do when the store gives no decision. `refuse` keeps the limit and stops the work. `lease-only` keeps
   * the limit and lets `consume` spend what this process has leased. `allow` keeps the work going, may exceed the limit,
   * and books what was let through when the store answers again. Outcomes say which it was.
   */
  readonly onStoreFailure: 'refuse' | 'lease-only' | 'allow'
  readonly lease?: LeaseOptions
  /** Of the breaker in front of the store; it opens after 5 failures in a row unless given. */
  readonly breaker?: Omit<CircuitBreakerOptions, 'name' | 'platform' | 'observe' | 'classification' | 'snapshot'>
  /** How long spends and ends of holds are remembered under their idempotency key, in milliseconds: 24 hours unless given. */
  readonly idempotencyMs?: number
  /** Is told what happens. What it throws is ignored. */
  readonly observe?: MeteringObserver
  readonly platform?: Platform
}

/** Whose quota of which limits. */
export interface QuotaBinding {
  readonly tenant: string
  /** Whose part of the tenant, from the top: `['team-a', 'agent-7']`. The tenant itself when absent. */
  readonly path?: readonly string[]
  /**
   * The name of a limit, or several, such as an hour's and a day's: all of them are charged in one step or none is. One
   * that is not declared is found out by the call, for names may come from a plan.
   */
  readonly limit: string | readonly string[]
}

const storeMethods = ['consume', 'hold', 'settle', 'extend', 'read', 'endExpired'] as const

export const optionsSchema: z.ZodType<QuotasOptions> = z.strictObject({
  store: z.custom<QuotaStore>(hasMethods(...storeMethods), 'must be a quota store, such as sqlQuotaStore(db)'),
  // By hand, so that a list's issues have their paths: a union would only say that it matches none of its members.
  limits: z.unknown().transform((value, check) => {
    if (isFunction(value)) return value as LimitLookup
    const parsed = limitsSchema.safeParse(value)
    if (parsed.success) return parsed.data
    for (const issue of parsed.error.issues) check.issues.push({ ...issue, input: value } as never)
    return z.NEVER
  }),
  onStoreFailure: z.enum(['refuse', 'lease-only', 'allow']),
  lease: z
    .strictObject({
      onLost: z.enum(['spent', 'returned']).exactOptional(),
      unitsMax: z.number().int().min(1).max(UNITS_MAX).exactOptional(),
      ttlMs: z.number().int().min(100).max(LEASE_MS_MAX).exactOptional()
    })
    .exactOptional(),
  breaker: z.custom<NonNullable<QuotasOptions['breaker']>>((value) => typeof value === 'object').exactOptional(),
  idempotencyMs: z.number().int().min(1_000).max(IDEMPOTENCY_MS_MAX).exactOptional(),
  observe: callable<MeteringObserver>().exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
}) as never

const limitsSchema: z.ZodType<readonly Limit[]> = z
  .array(limitSchema)
  .min(1)
  .max(LIMITS_MAX)
  .refine((limits) => new Set(limits.map(({ name }) => name)).size === limits.length, 'two limits have the same name')

export const bindingSchema: z.ZodType<QuotaBinding> = z
  .strictObject({
    tenant: identifierSchema,
    path: pathSchema.exactOptional(),
    limit: z.union([
      identifierSchema,
      z
        .array(identifierSchema)
        .min(1)
        .refine((names) => new Set(names).size === names.length, 'a limit is named twice')
    ])
  })
  .refine(({ path = [], limit }) => (path.length + 1) * (typeof limit === 'string' ? 1 : limit.length) <= LEVELS_MAX, {
    path: ['path'],
    message: `levels times limits must be at most ${LEVELS_MAX}`
  })
  .refine(({ path = [] }) => path.join('').length <= PATH_LENGTH_MAX, {
    path: ['path'],
    message: `must be at most ${PATH_LENGTH_MAX} characters in all`
  })

export const callSchema: z.ZodType<{ readonly idempotencyKey?: string }> = z.object({
  idempotencyKey: identifierSchema.exactOptional()
})

export const holdSchema: z.ZodType<{ readonly ttlMs: number; readonly idempotencyKey?: string }> = z.object({
  ttlMs: z.number().int().min(1).max(HOLD_MS_MAX),
  idempotencyKey: identifierSchema.exactOptional()
})

export const extendSchema: z.ZodType<{ readonly ttlMs: number; readonly amount?: number }> = z.object({
  ttlMs: z.number().int().min(1).max(HOLD_MS_MAX),
  amount: z.number().int().min(0).exactOptional()
})
