import { z } from 'zod'

/** What a button or a form of ours carries through Slack: which invitation it belongs to. Nothing in it is secret. */
export interface ButtonValue {
  readonly requestId: string
  /** Whom the invitation was for. It says nothing about who clicks. */
  readonly approver: string
  /** Of what was shown beside the button; a button that opens a form has none. */
  readonly argumentHash?: string
}

export const APPROVE = 'oversight.approve'
export const DENY = 'oversight.deny'
export const REVIEW = 'oversight.review'
/** A link; Slack tells of clicks on it all the same. */
export const OPEN = 'oversight.open'

/** Twice as long as ids are; three of them stay far below the 2,000 characters that Slack takes for a value. */
const idSchema = z.string().min(1).max(256)

export const buttonValueSchema: z.ZodType<ButtonValue> = z.strictObject({
  requestId: idSchema,
  approver: idSchema,
  argumentHash: idSchema.exactOptional()
})

/** Short names, for twenty of them have to fit into a message beside what it says. */
const wireSchema = z.strictObject({ r: idSchema, a: idSchema, h: idSchema.exactOptional() })

export function encodeButton({ requestId, approver, argumentHash }: ButtonValue): string {
  return JSON.stringify({ r: requestId, a: approver, ...(argumentHash === undefined ? {} : { h: argumentHash }) })
}

/** Undefined for what no button of ours carries. */
export function decodeButton(text: string): ButtonValue | undefined {
  const parsed = wireSchema.safeParse(jsonIn(text))
  if (!parsed.success) return undefined
  const { r, a, h } = parsed.data
  return { requestId: r, approver: a, ...(h === undefined ? {} : { argumentHash: h }) }
}

/** What a JSON text says; undefined when it is none. */
export function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
