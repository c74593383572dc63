import { canonicalJson } from '@enablement/core'

/** Characters of an event's properties as canonical JSON: 8 KiB holds any description of a use, and no document. */
export const PROPERTIES_LENGTH_MAX = 8_192

/** Members and items in all, nested ones included. Checked first, so that a wide object is not sorted before it is refused. */
export const PROPERTIES_MEMBERS_MAX = 256

/** Nesting, the properties themselves included. */
export const PROPERTIES_DEPTH_MAX = 8

/**
 * The canonical JSON of an event's properties, or undefined when they are not a plain JSON object within the bounds.
 * None at all is the empty object.
 */
export function propertiesText(properties: unknown): string | undefined {
  if (properties === undefined) return '{}'
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return undefined
  if (membersOf(properties, 1, 0) > PROPERTIES_MEMBERS_MAX) return undefined
  try {
    return canonicalJson(properties, { lengthMax: PROPERTIES_LENGTH_MAX })
  } catch {
    return undefined
  }
}

/** Members counted so far, or infinity beyond a bound. Looks no further than the bound, however large the value is. */
function membersOf(value: object, depth: number, counted: number): number {
  if (depth > PROPERTIES_DEPTH_MAX) return Number.POSITIVE_INFINITY
  const members: unknown[] = Array.isArray(value) ? value : Object.values(value)
  let count = counted + members.length
  if (count > PROPERTIES_MEMBERS_MAX) return Number.POSITIVE_INFINITY
  for (const member of members) {
    if (typeof member === 'string' && member.length > PROPERTIES_LENGTH_MAX) return Number.POSITIVE_INFINITY
    if (typeof member === 'object' && member !== null) count = membersOf(member, depth + 1, count)
    if (count > PROPERTIES_MEMBERS_MAX) return Number.POSITIVE_INFINITY
  }
  return count
}
