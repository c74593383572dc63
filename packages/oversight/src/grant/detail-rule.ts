import { canonicalJson, type JsonObject, type JsonValue } from '@enablement/core'
import { z } from 'zod'

/** What one member of an action's detail must be for a grant to hold. All that is given here must be met. */
export interface DetailRule {
  /**
   * Where the member is: names joined by dots, and positions in lists from 0, such as `lines.0.cents`. A member whose
   * name has a dot cannot be named. One that is absent meets no rule.
   */
  readonly path: string
  /** It is this very value. */
  readonly equals?: string | number | boolean | null
  /** It is one of these very values. */
  readonly oneOf?: readonly (string | number | boolean | null)[]
  /** It is a number, of this at most, and of `min` at least. Text that looks like a number is none. */
  readonly max?: number
  /** 0 unless given: a limit on what may be paid is no leave to pay a negative amount. */
  readonly min?: number
}

const PATH_LENGTH_MAX = 256
const VALUES_MAX = 100
const TEXT_LENGTH_MAX = 1_000
const RULES_MAX = 16

/** Characters of all rules of a grant as canonical JSON: they are put on record, where an entry may have 16,384. */
const RULES_LENGTH_MAX = 8_192

const valueSchema = z.union([z.string().max(TEXT_LENGTH_MAX), z.number(), z.boolean(), z.null()], 'must be plain')

const ruleSchema: z.ZodType<DetailRule> = z
  .strictObject({
    path: z
      .string()
      .max(PATH_LENGTH_MAX)
      .regex(/^[^.]+(?:\.[^.]+)*$/, 'must be names joined by dots'),
    equals: valueSchema.exactOptional(),
    oneOf: z.array(valueSchema).min(1).max(VALUES_MAX).exactOptional(),
    max: z.number().exactOptional(),
    min: z.number().exactOptional()
  })
  .check(({ value, issues }) => {
    const { equals, oneOf, min, max } = value
    if (equals === undefined && oneOf === undefined && max === undefined) {
      issues.push({ code: 'custom', input: value, path: [], message: 'needs equals, oneOf or max' })
    }
    if (min !== undefined && (max === undefined || min > max)) {
      issues.push({ code: 'custom', input: min, path: ['min'], message: 'needs a max that is not below it' })
    }
    if (max !== undefined && max < (min ?? 0)) {
      issues.push({
        code: 'custom',
        input: max,
        path: ['max'],
        message: 'must not be below min, which is 0 unless given'
      })
    }
  })

/** The rules of one grant. */
export const detailRulesSchema: z.ZodType<readonly DetailRule[]> = z
  .array(ruleSchema)
  .max(RULES_MAX)
  .refine((rules) => lengthOf(rules) <= RULES_LENGTH_MAX, `must have at most ${RULES_LENGTH_MAX} characters as JSON`)

/** Infinite for what has no canonical JSON, such as a lone surrogate. */
function lengthOf(rules: readonly DetailRule[]): number {
  try {
    return canonicalJson(rules).length
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/** Whether a detail is as the rule says. */
export function meets(detail: JsonObject, { path, equals, oneOf, max, min = 0 }: DetailRule): boolean {
  const found = memberAt(detail, path.split('.'))
  if (equals !== undefined && found !== equals) return false
  if (oneOf !== undefined && !oneOf.some((value) => found === value)) return false
  return max === undefined || (typeof found === 'number' && found >= min && found <= max)
}

/** Own members only: `constructor` is in no detail, and `length` is no member of a list. */
function memberAt(value: JsonValue | undefined, [name, ...rest]: readonly string[]): JsonValue | undefined {
  if (name === undefined) return value
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  if (Array.isArray(value) && !/^\d+$/.test(name)) return undefined
  return memberAt((value as JsonObject)[name], rest)
}
