/** The codes of one package's errors, each with the shape of its detail. */
export type ErrorTable = { readonly [code: string]: object }

/** Two copies of core in one process recognise each other's errors by this mark, where `instanceof` would not. */
const brand: unique symbol = Symbol.for('@enablement/error') as never

/**
 * The base of every package's one error class. A throw means that the answer is unknown or the caller is wrong;
 * expected answers (denied, duplicate, timed out) are returned. `detail` holds the numbers and names of what happened
 * and never a secret or a payload.
 */
export abstract class SuiteError<
  Table extends ErrorTable = ErrorTable,
  Code extends keyof Table & string = keyof Table & string
> extends Error {
  readonly code: Code
  readonly detail: Table[Code]

  constructor(code: Code, message: string, detail: Table[Code], options?: { readonly cause?: unknown }) {
    super(message, options)
    this.code = code
    this.detail = detail
    Object.defineProperty(this, brand, { value: true })
  }

  /** Whether this is the error `code`; narrows `detail` to that code's shape. */
  is<Wanted extends keyof Table & string>(
    code: Wanted
  ): this is this & { readonly code: Wanted; readonly detail: Table[Wanted] } {
    return (this.code as string) === code
  }

  /** What a log line may show: no stack, no cause, no secret. */
  toJSON(): { name: string; code: Code; message: string; detail: Table[Code] } {
    return { name: this.name, code: this.code, message: this.message, detail: this.detail }
  }
}

/** Whether `value` is an error of any package of this suite, from any copy of it; with `code`, whether it is that one. */
export function isSuiteError(value: unknown, code?: string): value is SuiteError {
  if (!(value instanceof Error) || !(brand in value)) return false
  return code === undefined || (value as Error as SuiteError).code === code
}
