import { z } from 'zod'

export const isFunction = (value: unknown): boolean => typeof value === 'function'

/** A function: what it takes and gives no schema can look into. */
export const callable = <T = never>(): z.ZodType<T> => z.custom<T>(isFunction, 'must be a function')

/** Tells whether a value is an object with these methods. */
export const hasMethods =
  (...names: readonly string[]) =>
  (value: unknown): boolean =>
    typeof value === 'object' && value !== null && names.every((name) => isFunction((value as never)[name]))

/** A port: whatever it is, it has these methods. */
export const methods = <T = never>(...names: readonly string[]): z.ZodType<T> =>
  z.custom<T>(hasMethods(...names), `must have ${listOf(names)}`)

/** `a`, `a and b`, `a, b and c`. */
const listOf = (names: readonly string[]): string =>
  [names.slice(0, -1).join(', '), ...names.slice(-1)].filter((part) => part !== '').join(' and ')
