import { z } from 'zod'
import type { Calendar } from '../calendar/calendar.ts'
import { calendarSchema } from '../calendar/period-finder.ts'
import { identifierSchema } from '../event/usage-event-schema.ts'

/** What a subscription pays for a period whatever it uses, in advance. */
export interface Plan {
  readonly name: string
  /** ISO 4217. */
  readonly currency: string
  /** For a whole period, before tax, in the currency's minor unit: an integer from 0 to 9e15. */
  readonly minorUnits: number
  readonly calendar: Calendar
  /** Units of credit that come with a period: an integer from 0 to 9e15. */
  readonly credits?: number
}

/** No amount, and no number of units, is larger: integers up to here are exact in every store. */
const AMOUNT_MAX = 9_000_000_000_000_000

export const amountSchema: z.ZodType<number> = z.number().int().min(0).max(AMOUNT_MAX)

export const currencySchema: z.ZodType<string> = z
  .string()
  .regex(/^[A-Z]{3}$/, 'must be three capital letters, such as EUR')

export const planSchema: z.ZodType<Plan> = z.strictObject({
  name: identifierSchema,
  currency: currencySchema,
  minorUnits: amountSchema,
  calendar: calendarSchema,
  credits: amountSchema.exactOptional()
})
