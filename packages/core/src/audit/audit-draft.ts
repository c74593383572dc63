import { utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { canonicalJson } from '../json/canonical-json.ts'
import type { JsonObject } from '../json/json.ts'
import type { AuditDraft } from './audit-log.ts'

/**
 * The longest name in an entry, as UTF-8: room for a URI or a composed id, none for a payload. Postgres takes about 2,700
 * bytes into a row of an index, and tenant, subject and action share one; so do a key's name and a tenant with three
 * characters for each byte, in the origins of checkpoints.
 */
export const NAME_BYTES_MAX = 512

/** The longest detail, as canonical JSON. Entries are kept for years and read whole: a fact fits, a document does not. */
const DETAIL_CHARACTERS_MAX = 16_384

/** Actions of the log itself. Nobody else may record one, or a forged redaction would excuse an erased detail. */
const OWN_ACTIONS = 'audit.'

export const nameSchema: z.ZodType<string> = z
  .string()
  .min(1)
  .refine(isShort, `must have at most ${NAME_BYTES_MAX} bytes as UTF-8`)
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed text without NUL')

const draftSchema: z.ZodType<AuditDraft> = z.strictObject({
  tenant: nameSchema,
  actor: nameSchema,
  action: z
    .string()
    .max(NAME_BYTES_MAX)
    .regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)+$/, 'must be dotted and lower case, such as "request.approved"')
    .refine((action) => !action.startsWith(OWN_ACTIONS), `must not begin with ${OWN_ACTIONS}, which is the log's own`),
  subject: nameSchema,
  detail: z.custom<JsonObject>(isObject, 'must be an object').exactOptional()
})

/** A unit of some 20 ms on Postgres; entries travel as one value, of 20 MB where all are as large as may be. */
const DRAFTS_MAX = 1_000

const draftsSchema: z.ZodType<readonly AuditDraft[]> = z.array(draftSchema).max(DRAFTS_MAX)

/** A draft that the log can take. Its detail is text, which the caller's later changes do not reach. */
export interface CheckedDraft extends Omit<AuditDraft, 'detail'> {
  readonly detail: string | undefined
}

/**
 * Checks a draft, because the entry is written later. Throws `INVALID_OPTIONS` with the path, and `NOT_JSON` for a
 * detail that has no canonical JSON or is too long.
 */
export function checkDraft(draft: AuditDraft): CheckedDraft {
  return withTextOf(parseOptions(draftSchema, 'an audit draft', draft))
}

/** As `checkDraft` for each. */
export function checkDrafts(drafts: readonly AuditDraft[]): readonly CheckedDraft[] {
  return parseOptions(draftsSchema, 'audit drafts', drafts).map(withTextOf)
}

function withTextOf({ detail, ...names }: AuditDraft): CheckedDraft {
  if (detail === undefined) return { ...names, detail }
  return { ...names, detail: canonicalJson(detail, { lengthMax: DETAIL_CHARACTERS_MAX }) }
}

function isShort(text: string): boolean {
  // No UTF-16 code unit takes more than three bytes of UTF-8.
  if (text.length * 3 <= NAME_BYTES_MAX) return true
  return text.length <= NAME_BYTES_MAX && utf8ToBytes(text).length <= NAME_BYTES_MAX
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
