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
  return write(value, '', 0, { lengthMax, written: 0 })
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
interface Budget {
  readonly lengthMax: number
  written: number
}

function spend(budget: Budget, text: string, path: string): string {
  budget.written += text.length
  if (budget.written > budget.lengthMax) throw notJson(path, `longer than ${budget.lengthMax} characters`)
  return text
}

function write(value: unknown, path: string, depth: number, budget: Budget): string {
  if (value === null || typeof value === 'boolean') return spend(budget, String(value), path)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw notJson(path, `the number ${value}`)
    return spend(budget, JSON.stringify(value), path)
  }
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw notJson(path, 'a string with a lone surrogate')
    return spend(budget, JSON.stringify(value), path)
  }
  if (typeof value !== 'object') throw notJson(path, value === undefined ? 'undefined' : `a ${typeof value}`)
  if (depth >= DEPTH_MAX) throw notJson(path, `nested deeper than ${DEPTH_MAX}`)
  return Array.isArray(value) ? writeArray(value, path, depth + 1, budget) : writeObject(value, path, depth + 1, budget)
}

function writeArray(items: readonly unknown[], path: string, depth: number, budget: Budget): string {
  spend(budget, '[]', path)
  const parts = Array.from(items, (item, at) => {
    if (at > 0) spend(budget, ',', path)
    return write(item, `${path}[${at}]`, depth, budget)
  })
  return `[${parts.join(',')}]`
}

function writeObject(value: object, path: string, depth: number, budget: Budget): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw notJson(path, 'an object that is not plain')
  spend(budget, '{}', path)
  const members: string[] = []
  // The default order of `sort` is by UTF-16 code units, which RFC 8785 §3.2.3 asks for.
  for (const key of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[key]
    if (member === undefined) continue
    const at = path === '' ? key : `${path}.${key}`
    if (!key.isWellFormed()) throw notJson(at, 'a key with a lone surrogate')
    const name = spend(budget, `${members.length > 0 ? ',' : ''}${JSON.stringify(key)}:`, at)
    members.push(name + write(member, at, depth, budget))
  }
  return `{${members.join('')}}`
}

function notJson(path: string, reason: string): CoreError<'NOT_JSON'> {
  return new CoreError('NOT_JSON', `no canonical JSON for ${path === '' ? 'the value' : path}: ${reason}`, {
    path,
    reason
  })
}
