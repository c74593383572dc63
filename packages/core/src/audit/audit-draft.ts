import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { canonicalJson } from '../json/canonical-json.ts'
import type { JsonObject } from '../json/json.ts'
import type { AuditDraft } from './audit-log.ts'

/** The longest name in an entry: room for a URI or a composed id, none for a payload. */
const NAME_CHARACTERS_MAX = 512

/** The longest detail, as canonical JSON. Entries are kept for years and read whole: a fact fits, a document does not. */
const DETAIL_CHARACTERS_MAX = 16_384

const name = z
  .string()
  .min(1)
  .max(NAME_CHARACTERS_MAX)
  .refine((text) => text.isWellFormed() && !text.includes('\0'), 'must be well-formed text without NUL')

const draftSchema: z.ZodType<AuditDraft> = z.strictObject({
  tenant: name,
  actor: name,
  action: name.regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)+$/, 'must be dotted and lower case, such as "request.approved"'),
  subject: name,
  detail: z.custom<JsonObject>(isObject, 'must be an object').exactOptional()
})

/**
 * A draft that the log can take: a copy, which the caller's later changes do not reach, because the entry is written
 * later. Throws `INVALID_OPTIONS` with the path, and `NOT_JSON` for a detail that has
 * no canonical JSON or is too long.
 */
export function checkDraft(draft: AuditDraft): AuditDraft {
  const { detail, ...names } = parseOptions(draftSchema, 'an audit draft', draft)
  if (detail === undefined) return names
  const text = canonicalJson(detail, { lengthMax: DETAIL_CHARACTERS_MAX })
  return { ...names, detail: JSON.parse(text) as JsonObject }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
