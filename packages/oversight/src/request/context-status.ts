import { z } from 'zod'
import { proseSchema } from '../directory/identity.ts'

/** How much an agent knew when it asked: an outage of its memory is no empty memory, and approvers are told. */
export type ContextStatus =
  | { readonly outcome: 'complete' }
  | { readonly outcome: 'stale'; readonly ageMs: number }
  | { readonly outcome: 'unavailable'; readonly reason: string }

const REASON_LENGTH_MAX = 200

export const contextStatusSchema: z.ZodType<ContextStatus> = z.discriminatedUnion('outcome', [
  z.strictObject({ outcome: z.literal('complete') }),
  z.strictObject({ outcome: z.literal('stale'), ageMs: z.int().min(0) }),
  z.strictObject({ outcome: z.literal('unavailable'), reason: proseSchema(REASON_LENGTH_MAX) })
])
