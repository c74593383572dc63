import { canonicalJson, type JsonObject } from '@enablement/core'

/** Characters of an event's properties as canonical JSON: 8 KiB holds any description of a use, and no document. */
export const PROPERTIES_LENGTH_MAX = 8_192

/** Members and items in all, nested ones included. Checked first, so that a wide object is not sorted before it is refused. */
export const PROPERTIES_MEMBERS_MAX = 256

/** Nesting, the properties themselves included. */
export const PROPERTIES_DEPTH_MAX = 8

/** JSON escapes a UTF-16 unit with six characters at most. */
const ESCAPED_LENGTH_MAX = 6
/** Quotes, colon and comma around a member, and the longest number, `-1.2345678901234567e+100`. */
const MEMBER_LENGTH_MAX = 32

/** No properties. */
const NO_PROPERTIES: JsonObject = Object.freeze({})

/**
 * A copy of an event's properties, which the caller's later changes do not reach, or undefined when they are not a plain
 * JSON object within the bounds. None at all is the empty object.
 *
 * Flat objects, which nearly all are, are copied first and judged afterwards: what was checked is what is kept, whatever
 * getters and proxies do. The text, which costs ten times as much, is made when an event goes to a store.
 */
export function copiedProperties(properties: unknown): JsonObject | undefined {
  if (properties === undefined) return NO_PROPERTIES
  if (typeof properties !== 'object' || properties === null || Array.isArray(properties)) return undefined
  const copy = flatCopy(properties)
  if (copy !== undefined) return copy
  const text = boundedText(properties)
  return text === undefined ? undefined : (JSON.parse(text) as JsonObject)
}

/** The canonical JSON of properties that have been copied. */
export function propertiesText(properties: JsonObject): string {
  if (properties === NO_PROPERTIES) return '{}'
  let last = ''
  for (const key in properties) {
    const value = properties[key]
    // Nested, or out of order: the long way. `JSON.stringify` writes the rest as RFC 8785 does.
    if (key < last || (typeof value === 'object' && value !== null)) return canonicalJson(properties)
    last = key
  }
  return JSON.stringify(properties)
}

/**
 * The keys and the short values found good last, by their place. Events of one source have the same keys, and often the
 * same values; comparing two references to one string costs a part of looking at each character again.
 */
const goodKeys: string[] = Array<string>(PROPERTIES_MEMBERS_MAX).fill('')
const goodValues: string[] = Array<string>(PROPERTIES_MEMBERS_MAX).fill('')

/** A copy of a plain object of short strings, finite numbers, booleans and nulls; undefined for any other. */
function flatCopy(properties: object): JsonObject | undefined {
  // Of the two functions that tell it, the faster one.
  const prototype = Reflect.getPrototypeOf(properties)
  if (prototype !== Object.prototype && prototype !== null) return undefined
  const copy: Record<string, unknown> = { ...properties }
  let members = 0
  let length = 0
  for (const key in copy) {
    if (members >= PROPERTIES_MEMBERS_MAX) return undefined
    const value = copy[key]
    length += MEMBER_LENGTH_MAX + ESCAPED_LENGTH_MAX * key.length
    if (typeof value === 'string') {
      length += ESCAPED_LENGTH_MAX * value.length
      if (length > PROPERTIES_LENGTH_MAX) return undefined
      if (value !== goodValues[members] && !isGoodValue(value, members)) return undefined
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value)) return undefined
    } else if (typeof value !== 'boolean' && value !== null) return undefined
    if (length > PROPERTIES_LENGTH_MAX) return undefined
    if (key !== goodKeys[members]) {
      if (!key.isWellFormed()) return undefined
      goodKeys[members] = key
    }
    members += 1
  }
  return copy as JsonObject
}

/** Up to here a loop over ASCII is faster than the engine's own check. */
const SHORT_LENGTH = 12

/** Whether a value is well-formed. Remembers it at its place when it is short and of ASCII. */
function isGoodValue(value: string, place: number): boolean {
  if (value.length > SHORT_LENGTH) return value.isWellFormed()
  for (let at = 0; at < value.length; at++) {
    if (value.charCodeAt(at) > 0x7e) return value.isWellFormed()
  }
  goodValues[place] = value
  return true
}

function boundedText(properties: object): string | undefined {
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
