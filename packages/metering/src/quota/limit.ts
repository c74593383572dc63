import { z } from 'zod'
import { QUANTITY_MAX } from '../event/usage-event.ts'
import type { Period } from './period.ts'

/** A rule: how much of something each subject may consume in a period. */
export interface Limit {
  /** Such as `llm-tokens`: letters, digits and `._-`, at most 64; unique among the limits of one enforcer. */
  readonly name: string
  /** An integer in [0, 9e15]. Lowered below what is used, the rest is 0, never negative. */
  readonly quantity: number
  readonly period: Period
}

/** The longest fixed period, in milliseconds: ten years. Longer ones are `lifetime`. */
const EVERY_MS_MAX = 315_576_000_000

const periodSchema: z.ZodType<Period> = z.union([
  z.literal('lifetime'),
  z.literal('calendar-month-utc'),
  z.strictObject({ everyMs: z.number().int().min(1).max(EVERY_MS_MAX) })
])

/** What a limit must be. */
export const limitSchema: z.ZodType<Limit> = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a name is at most 64 letters, digits and ._-'),
  quantity: z.number().int().min(0).max(QUANTITY_MAX),
  period: periodSchema
})
