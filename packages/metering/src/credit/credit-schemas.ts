import { z } from 'zod'
import { calendarSchema } from '../calendar/period-finder.ts'
import { identifierSchema, usedAtSchema } from '../event/usage-event-schema.ts'
import { DECIMAL_PATTERN } from '../money/decimal-text.ts'
import { readCredits } from './credit-unit.ts'

/** A hold lasts 30 days at most: it keeps credits from everybody else. */
const TTL_MS_MAX = 30 * 86_400_000

/** A period is an hour at least: a wallet that nobody looked at for a year has 8,760 of them to book. */
const EVERY_MS_MIN = 3_600_000

const METRICS_MAX = 16

const ttlSchema = z.int().min(1).max(TTL_MS_MAX)
const signal = z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'must be an AbortSignal').exactOptional()

/** Decimal text of a unit as an integer. `least` is 0 where nothing is an amount. */
function creditsSchema(scale: number, least: 0 | 1) {
  return z.unknown().transform((text, issues): number => {
    const read = readCredits(text, scale, least)
    if (typeof read === 'number') return read
    issues.addIssue({ code: 'custom', message: read })
    return z.NEVER
  })
}

/** What the methods of a wallet take, in its unit. Built once for a wallet. */
export function creditSchemas(scale: number) {
  const amount = creditsSchema(scale, 1)
  return {
    grant: z.strictObject({
      id: identifierSchema,
      amount,
      priority: z.int().min(0).max(100).default(50),
      effectiveAt: usedAtSchema.exactOptional(),
      expiresAt: usedAtSchema.exactOptional(),
      category: z.enum(['paid', 'promotional']).default('paid'),
      costBasis: z
        .string()
        .regex(DECIMAL_PATTERN, 'must be plain decimal text')
        .refine((text) => !text.startsWith('-'), 'must not be negative')
        .default('0'),
      metrics: z.array(identifierSchema).min(1).max(METRICS_MAX).exactOptional(),
      payment: z.enum(['settled', 'pending']).default('settled'),
      recurs: z
        .union([
          z.strictObject({
            everyMs: z
              .int()
              .min(EVERY_MS_MIN)
              .max(366 * 86_400_000)
          }),
          z.strictObject({ calendar: calendarSchema })
        ])
        .exactOptional(),
      rollOver: z
        .strictObject({
          max: amount,
          forMs: z
            .int()
            .min(1)
            .max(3_660 * 86_400_000)
            .exactOptional()
        })
        .exactOptional()
    }),
    grantId: z.strictObject({ grant: identifierSchema, signal }),
    void: z.strictObject({
      grant: identifierSchema,
      idempotencyKey: identifierSchema,
      amount: amount.optional(),
      signal
    }),
    charge: z.strictObject({
      amount,
      idempotencyKey: identifierSchema,
      metric: identifierSchema.exactOptional(),
      signal
    }),
    hold: z.strictObject({
      amount,
      idempotencyKey: identifierSchema,
      ttlMs: ttlSchema,
      metric: identifierSchema.exactOptional(),
      signal
    }),
    commit: z.strictObject({ hold: identifierSchema, amount: creditsSchema(scale, 0), signal }),
    release: z.strictObject({ hold: identifierSchema, signal }),
    extend: z.strictObject({ hold: identifierSchema, ttlMs: ttlSchema, signal }),
    reverse: z.strictObject({
      charge: identifierSchema,
      idempotencyKey: identifierSchema,
      amount: amount.optional(),
      signal
    }),
    quote: z.strictObject({ amount, metric: identifierSchema.exactOptional(), signal }),
    balance: z.strictObject({ metric: identifierSchema.exactOptional(), signal }),
    entries: z.strictObject({
      after: z.int().min(0).exactOptional(),
      limit: z.int().min(1).max(1_000).exactOptional(),
      signal
    })
  }
}
