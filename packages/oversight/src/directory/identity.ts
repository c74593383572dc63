import { z } from 'zod'

/** Characters of a name: longer than any address, short enough to index and to show. */
const IDENTITY_LENGTH_MAX = 128

/**
 * No control, format (zero-width, bidirectional) or unassigned characters, no line breaks, no space at either end:
 * two identities that look the same to whoever reads the record should be the same.
 */
const PRINTABLE = /^[^\p{C}\p{Z}](?:[^\p{C}\p{Zl}\p{Zp}]*[^\p{C}\p{Z}])?$/u

/** What the library itself decides is recorded as `system:…`, which no person or agent may be called. */
const RESERVED = /^system:/iu

/** The name of an approver, an agent, a tenant or a channel. */
export const identitySchema = z
  .string()
  .min(1)
  .max(IDENTITY_LENGTH_MAX)
  .refine(
    (value) => PRINTABLE.test(value) && value === value.normalize('NFC'),
    'must be printable, NFC-normalised text without space at either end'
  )
  .refine((value) => !RESERVED.test(value), 'must not begin with system:')

/** A key chosen by the caller's program. */
export const keySchema = z
  .string()
  .min(1)
  .max(256)
  .refine((value) => PRINTABLE.test(value), 'must be printable text without space at either end')

/** Controls that reorder the text around them: what an approver reads would not be what was written. */
const REORDERING = /[\u202a-\u202e\u2066-\u2069]/

/**
 * Text for people, of at most `lengthMax` characters. NUL and lone surrogates cannot be stored, and text that shows as
 * something else must not be decided on.
 */
export const proseSchema = (lengthMax: number): z.ZodType<string> =>
  z
    .string()
    .max(lengthMax)
    .refine((value) => value.trim() !== '', 'must not be blank')
    .refine((value) => value.isWellFormed() && !value.includes('\0'), 'must be well-formed text')
    .refine((value) => !REORDERING.test(value), 'must not reorder the text around it')

/**
 * Whether two names may stand for the same principal. Used where a match forbids something, so it errs towards a match:
 * `Ana@Example.com` and `ana@example.com` are one person to most directories.
 */
export function mayBeSamePrincipal(one: string, other: string): boolean {
  return principalKey(one) === principalKey(other)
}

/** The same for all names that may stand for one principal; see `mayBeSamePrincipal`. */
export const principalKey = (identity: string): string => identity.normalize('NFKC').toLowerCase()
