import { CoreError, type Issue } from '../failure/core-error.ts'
import { hashTagOf } from './hash-tag.ts'
import type { Script } from './script.ts'

/** An argument of a script. Fractions go as text, in a form that caller and script agree on. */
export type ScriptArgument = string | number | Uint8Array

/**
 * The largest integer that goes in or comes out, either sign. Lua counts in doubles, exact up to 2^53 = 9.007e15; the
 * room above lets a script add to a checked number without losing a unit.
 */
export const SCRIPT_INTEGER_MAX = 9_000_000_000_000_000

/** Keys and arguments of one call: what Lua's `unpack` can push, and long before a script blocks the server for long. */
const PARAMETERS_MAX = 7_000

/**
 * Keys, then arguments, as they travel. Bytes are copied, so the caller may reuse its buffer at once. Throws
 * `INVALID_OPTIONS` before anything is sent; values are not repeated in it, for they may be secrets.
 */
export function scriptParameters(
  script: Script,
  keys: readonly string[],
  args: readonly ScriptArgument[]
): (string | Uint8Array)[] {
  const { name } = script
  if (script.keys === 'many' ? keys.length === 0 : keys.length !== script.keys) {
    const expected = script.keys === 'many' ? 'one or more' : script.keys
    throw refused(name, [{ path: 'keys', message: `${keys.length} given, ${expected} expected` }])
  }
  if (keys.length + args.length > PARAMETERS_MAX) {
    throw refused(name, [{ path: '', message: `more than ${PARAMETERS_MAX} keys and arguments` }])
  }
  const parameters: (string | Uint8Array)[] = []
  const issues: Issue[] = []
  const tag = hashTagOf(String(keys[0]))
  for (const [at, key] of keys.entries()) {
    const message = keyIssue(key, tag)
    if (message === undefined) parameters.push(key)
    else issues.push({ path: `keys.${at}`, message })
  }
  for (const [at, arg] of args.entries()) {
    const parameter = argument(arg)
    if (parameter === undefined) issues.push({ path: `args.${at}`, message: argumentRule })
    else parameters.push(parameter)
  }
  if (issues.length > 0) throw refused(name, issues)
  return parameters
}

const argumentRule = `an argument is a well-formed string, an integer within ${SCRIPT_INTEGER_MAX}, or bytes`

function keyIssue(key: string, tag: string | undefined): string | undefined {
  if (typeof key !== 'string' || !key.isWellFormed()) return 'a key is a well-formed string'
  const own = hashTagOf(key)
  if (own === undefined) return 'a key needs a hash tag, {like-this}'
  return own === tag ? undefined : 'all keys of a call need the same hash tag'
}

function argument(arg: ScriptArgument): string | Uint8Array | undefined {
  if (typeof arg === 'string') return arg.isWellFormed() ? arg : undefined
  // Below 1e21 a number prints without an exponent, which Lua and Redis would read differently.
  if (typeof arg === 'number')
    return Number.isInteger(arg) && Math.abs(arg) <= SCRIPT_INTEGER_MAX ? String(arg) : undefined
  // ioredis takes bytes as a Buffer alone and would write any other array as text: `1,2,3`.
  return arg instanceof Uint8Array ? Buffer.from(arg) : undefined
}

function refused(script: string, issues: readonly Issue[]): CoreError<'INVALID_OPTIONS'> {
  const summary = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ')
  return new CoreError('INVALID_OPTIONS', `the script ${script} was not sent: ${summary}`, { subject: script, issues })
}
