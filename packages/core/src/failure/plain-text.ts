import { z } from 'zod'

/**
 * A name, key or id of 1 to `max` UTF-16 code units that every store can hold: Postgres takes no NUL, and a lone surrogate
 * becomes another text on its way.
 */
export const plainText = (max: number): z.ZodType<string> =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed and without NUL')
