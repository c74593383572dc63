import { z } from 'zod'

/** `custom` keeps what is the caller's own as it is: an object schema would copy it and lose its methods. */
export const objectWith = <Value extends object>(what: string, ...members: readonly string[]): z.ZodType<Value> =>
  z.custom<Value>(
    (value) => typeof value === 'object' && value !== null && members.every((member) => member in value),
    `must be ${what}`
  )

export const functionSchema = <Fn>(): z.ZodType<Fn> =>
  z.custom<Fn>((value) => typeof value === 'function', 'must be a function')

/** Where Slack's Web API is, or something that stands in for it. */
export const apiUrlSchema: z.ZodType<string> = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'must be an http or https URL')

export const API_URL = 'https://slack.com/api/'
