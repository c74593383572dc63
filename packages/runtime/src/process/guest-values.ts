import type { GuestError } from '../sandbox/sandbox-host.ts'
import { BOUNDS } from './guest-protocol.ts'

/*
 * How the guest's values are written down. What it needs of the intrinsics it takes first: a guest may redefine them as it
 * likes, and spoils only its own view.
 */
const { parse, stringify } = JSON
const NativeString = String
const NativeError = Error
const NativeTypeError = TypeError
const apply = Reflect.apply
const sliceOf = String.prototype.slice

export const cut = (text: string, chars: number): string =>
  text.length > chars ? apply(sliceOf, text, [0, chars]) : text

/** JSON of a value, at most `chars` long. */
export function jsonOf(value: unknown, chars: number, what: string): string | undefined {
  const json = stringify(value) as string | undefined
  if (json !== undefined && json.length > chars) {
    throw new NativeTypeError(`${what} is longer than ${chars} characters of JSON`)
  }
  return json
}

export const parsedOf = (json: string | undefined): unknown => (json === undefined ? undefined : parse(json))

export const errorOf = (message: string): Error => new NativeError(message)

/** One value on a console line. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return cut(value, BOUNDS.consoleChars)
  try {
    const text = typeof value === 'object' && value !== null ? (stringify(value) as string | undefined) : undefined
    return cut(text ?? NativeString(value), BOUNDS.consoleChars)
  } catch {
    return '[unprintable]'
  }
}

/** A thrown value, whatever it is. Its getters may throw in turn. */
export function described(thrown: unknown): GuestError {
  const text = (value: unknown, chars: number): string | undefined =>
    typeof value === 'string' ? cut(value, chars) : undefined
  try {
    if (typeof thrown !== 'object' || thrown === null) {
      return { name: 'Error', message: cut(shown(thrown), BOUNDS.errorChars) }
    }
    const { name, message, stack } = thrown as Partial<Record<'name' | 'message' | 'stack', unknown>>
    const stackText = text(stack, BOUNDS.errorChars)
    return {
      name: text(name, BOUNDS.nameChars) || 'Error',
      message: text(message, BOUNDS.errorChars) ?? '',
      ...(stackText === undefined ? {} : { stack: stackText })
    }
  } catch {
    return { name: 'Error', message: 'the thrown value could not be read' }
  }
}
