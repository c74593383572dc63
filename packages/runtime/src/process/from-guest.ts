import { z } from 'zod'
import { BOUNDS, type FromGuest } from './guest-protocol.ts'

const error = z.strictObject({
  name: z.string().max(BOUNDS.nameChars),
  message: z.string().max(BOUNDS.errorChars),
  stack: z.string().max(BOUNDS.errorChars).optional()
})

const json = (chars: number) =>
  z
    .string()
    .max(chars)
    .refine((text) => {
      try {
        JSON.parse(text)
        return true
      } catch {
        return false
      }
    }, 'must be JSON')
    .optional()

/** Whatever may come from a guest; its own code can write to the pipe as well as ours can. */
const schema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({ kind: z.literal('opened') }),
  z.strictObject({
    kind: z.literal('ended'),
    end: z.discriminatedUnion('outcome', [
      z.strictObject({ outcome: z.literal('completed'), json: json(BOUNDS.resultChars) }),
      z.strictObject({ outcome: z.literal('failed'), error }),
      z.strictObject({ outcome: z.literal('interrupted') })
    ])
  }),
  z.strictObject({
    kind: z.literal('call'),
    callId: z.int().min(1),
    name: z.string().max(1_000),
    json: json(BOUNDS.callChars)
  }),
  z.strictObject({
    kind: z.literal('console'),
    level: z.enum(['debug', 'info', 'warn', 'error']),
    text: z.string().max(BOUNDS.consoleChars)
  }),
  z.strictObject({ kind: z.literal('collected') }),
  z.strictObject({ kind: z.literal('saved'), json: json(BOUNDS.stateChars) }),
  z.strictObject({ kind: z.literal('not-saved'), reason: z.string().max(BOUNDS.errorChars) })
])

/** A message of the guest's, or undefined when it is none. */
export function fromGuest(message: unknown): FromGuest | undefined {
  const parsed = schema.safeParse(message)
  return parsed.success ? (parsed.data as FromGuest) : undefined
}
