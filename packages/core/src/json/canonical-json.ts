import { CoreError } from '../failure/core-error.ts'
import type { JsonValue } from './json.ts'

/** Nesting beyond this is refused: no honest payload has it, and recursion must end before the stack does. */
const DEPTH_MAX = 64

/** Characters of the result beyond which a value is refused, unless the caller says otherwise: 1 MiB. */
const LENGTH_MAX = 1_048_576

/**
 * The one text that stands for a JSON value: RFC 8785, keys in UTF-16 order, numbers as ECMAScript prints them. Equal
 * values give equal texts, so a hash of it binds what was approved, recorded or billed.
 *
 * Members that are `undefined` are left out, as `JSON.stringify` does. Throws `NOT_JSON` with the path for anything
 * that has no such form: cycles and nesting beyond 64, non-finite numbers, bigint, functions, symbols, objects with a
 * prototype of their own, lone surrogates, and results longer than `lengthMax` characters.
 */
export function canonicalJson(value: unknown, options: { readonly lengthMax?: number } = {}): string {
  const { lengthMax = LENGTH_MAX } = options
  return write(value, { lengthMax, written: 0, path: [] })
}

/** Whether `value` has a canonical form; narrows it. */
export function isJson(value: unknown): value is JsonValue {
  try {
    canonicalJson(value)
    return true
  } catch {
    return false
  }
}

/** Counted as it grows: a small value that refers to itself many times over must be refused before it fills memory. */
interface Writing {
  readonly lengthMax: number
  written: number
  /** Where it is: keys and indexes, of which a text is made when something is refused. */
  readonly path: (string | number)[]
}

function spend(writing: Writing, text: string): string {
  writing.written += text.length
  if (writing.written > writing.lengthMax) throw notJson(writing, `longer than ${writing.lengthMax} characters`)
  return text
}

function write(value: unknown, writing: Writing): string {
  if (value === null || typeof value === 'boolean') return spend(writing, String(value))
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw notJson(writing, `the number ${value}`)
    return spend(writing, JSON.stringify(value))
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw notJson(writing, 'a string with a lone surrogate')
    return spend(writing, JSON.stringify(value))
  }
  if (typeof value !== 'object') throw notJson(writing, value === undefined ? 'undefined' : `a ${typeof value}`)
  if (writing.path.length >= DEPTH_MAX) throw notJson(writing, `nested deeper than ${DEPTH_MAX}`)
  return Array.isArray(value) ? writeArray(value, writing) : writeObject(value, writing)
}

function writeArray(items: readonly unknown[], writing: Writing): string {
  spend(writing, '[]')
  let text = ''
  // By index: a hole is an element that is undefined.
  for (let at = 0; at < items.length; at++) {
    if (at > 0) text += spend(writing, ',')
    writing.path.push(at)
    text += write(items[at], writing)
    writing.path.pop()
  }
  return `[${text}]`
}

function writeObject(value: object, writing: Writing): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw notJson(writing, 'an object that is not plain')
  spend(writing, '{}')
  let text = ''
  // The default order of `sort` is by UTF-16 code units, which RFC 8785 §3.2.3 asks for.
  for (const key of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[key]
    if (member === undefined) continue
    writing.path.push(key)
    if (!key.isWellFormed()) throw notJson(writing, 'a key with a lone surrogate')
    text += spend(writing, `${text === '' ? '' : ','}${JSON.stringify(key)}:`) + write(member, writing)
    writing.path.pop()
  }
  return `{${text}}`
}

function notJson(writing: Writing, reason: string): CoreError<'NOT_JSON'> {
  const path = writing.path.reduce<string>((before, step) => {
    if (typeof step === 'number') return `${before}[${step}]`
    return before === '' ? step : `${before}.${step}`
  }, '')
  return new CoreError('NOT_JSON', `no canonical JSON for ${path === '' ? 'the value' : path}: ${reason}`, {
    path,
    reason
  })
}
