import type { Issue } from '@enablement/core'
import { z } from 'zod'
import { fitsInBytes, IDENTIFIER_BYTES_MAX, IDENTIFIER_LENGTH_MAX, IDENTIFIER_PATTERN } from './identifier.ts'
import { copiedProperties, PROPERTIES_DEPTH_MAX, PROPERTIES_LENGTH_MAX, PROPERTIES_MEMBERS_MAX } from './properties.ts'
import { QUANTITY_MAX, USED_AT_LIMIT, USED_AT_MIN } from './usage-event.ts'

/** Own fields looked at; one that brings more is refused before each of them is named. */
const FIELDS_MAX = 32

/** Characters of an unknown field's name that an issue repeats. */
const PATH_LENGTH_MAX = 64

/** What an identifier of any kind must be. */
export const identifierSchema: z.ZodType<string> = z
  .string()
  .max(IDENTIFIER_LENGTH_MAX)
  .regex(IDENTIFIER_PATTERN, 'must not be blank or hold control characters or lone surrogates')
  .refine(fitsInBytes, `must have at most ${IDENTIFIER_BYTES_MAX} bytes as UTF-8`)

/** An integer in [0, 9e15]. */
const quantitySchema = z.number().int().min(0).max(QUANTITY_MAX)

/** An instant of this era in epoch milliseconds. */
export const usedAtSchema: z.ZodType<number> = z
  .number()
  .int()
  .min(USED_AT_MIN, 'must be epoch milliseconds, from the year 2000 on; is it in seconds?')
  .lt(USED_AT_LIMIT, 'must be epoch milliseconds, before the year 10000; is it in microseconds?')

/** The declared shape of a usage event. `parseUsageEvent` decides the same by hand, and asks this for the issues. */
const usageEventSchema = z.strictObject({
  tenant: identifierSchema,
  subscription: identifierSchema,
  transactionId: identifierSchema,
  metric: identifierSchema,
  quantity: quantitySchema,
  at: usedAtSchema,
  source: identifierSchema.optional(),
  properties: z
    .unknown()
    .refine(
      (value) => copiedProperties(value) !== undefined,
      `must be a plain JSON object of at most ${PROPERTIES_LENGTH_MAX} characters, ${PROPERTIES_MEMBERS_MAX} members and ${PROPERTIES_DEPTH_MAX} levels`
    )
    .optional()
})

/** What the declared schema has against `input`: no issues for a usage event. Throws only what reading `input` throws. */
export function usageEventIssues(input: unknown): readonly Issue[] {
  if (typeof input === 'object' && input !== null && Object.keys(input).length > FIELDS_MAX) {
    return [{ path: '', message: `has more than ${FIELDS_MAX} fields` }]
  }
  const parsed = usageEventSchema.safeParse(input)
  if (parsed.success) return []
  return parsed.error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: key.slice(0, PATH_LENGTH_MAX), message: 'is not a field of a usage event' }))
      : [{ path: issue.path.map(String).join('.'), message: issue.message }]
  )
}
