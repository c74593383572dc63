import { CoreError, type Issue } from './core-error.ts'

/** The part of a schema that options are checked with; a zod schema has it. */
export interface OptionsSchema<Options> {
  safeParse(input: unknown):
    | { readonly success: true; readonly data: Options }
    | {
        readonly success: false
        readonly error: {
          readonly issues: readonly {
            readonly path: readonly PropertyKey[]
            readonly message: string
            /** Of an issue about options that do not exist: their names. */
            readonly keys?: readonly string[]
          }[]
        }
      }
}

/**
 * Checks what a caller passed to a factory, before anything is built from it. An option that is undefined counts as
 * absent: few callers compile with `exactOptionalPropertyTypes`, and theirs let `{ retry: settings.retry }` pass.
 *
 * `subject` names the factory. Throws `INVALID_OPTIONS` with the path of every issue; the offending values are not
 * repeated, for they may be secrets.
 */
export function parseOptions<Options>(schema: OptionsSchema<Options>, subject: string, input: unknown): Options {
  const parsed = schema.safeParse(withoutUndefined(input))
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.flatMap(({ path, message, keys }): Issue[] =>
    keys === undefined
      ? [{ path: dotted(path), message }]
      : keys.map((key) => ({ path: dotted([...path, key]), message: 'there is no such option' }))
  )
  const summary = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ')
  throw new CoreError('INVALID_OPTIONS', `${subject} refused its options: ${summary}`, { subject, issues })
}

function withoutUndefined(input: unknown): unknown {
  if (Array.isArray(input)) return input.map(withoutUndefined)
  if (typeof input !== 'object' || input === null) return input
  const members = Object.entries(input)
  const present = members.filter(([, value]) => value !== undefined)
  return present.length === members.length ? input : Object.fromEntries(present)
}

const dotted = (path: readonly PropertyKey[]): string => path.map(String).join('.')
