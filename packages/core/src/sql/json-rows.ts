import { z } from 'zod'
import type { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import type { SqlDialect } from './sql-database.ts'
import { misuse } from './unit.ts'

/** What a column of given rows holds besides NULL: well-formed text without NUL, an integer within +-(2^53 - 1), a double. */
export type JsonColumn = 'text' | 'integer' | 'real'

/** Columns by name: lower case, since they become part of the statement, and none called `place`. */
export type JsonColumns = Readonly<Record<string, JsonColumn>>

/** A row: a value, or null, for each column. What else it has is left out. */
export type JsonRow<Columns extends JsonColumns> = {
  readonly [Name in keyof Columns]: { text: string; integer: number; real: number }[Columns[Name]] | null
}

/** Rows that a statement is given as one value, so that its text is the same for any number of them. */
export interface JsonRows<Columns extends JsonColumns> {
  /**
   * A select in parentheses, which takes one `?`: `from ${given.select} as given`. It has the columns, and `place`, which
   * counts the rows from 0. Their order is not promised without `order by given.place`.
   */
  readonly select: string
  /** The value for that `?`. Throws `STATEMENT_FAILED` for what its column cannot hold, naming the row and the column. */
  parameter(rows: readonly JsonRow<Columns>[]): string
}

const columnsSchema: z.ZodType<JsonColumns> = z
  .record(
    z
      .string()
      .regex(/^[a-z_][a-z0-9_]*$/, 'must be a name in lower case')
      .refine((name) => name !== 'place', 'is the number of the row'),
    z.enum(['text', 'integer', 'real'])
  )
  .refine((columns) => Object.keys(columns).length > 0, 'must have a column')

/**
 * How a statement is given rows with these columns. Bytes do not travel this way, since JSON has none. Throws
 * `INVALID_OPTIONS`.
 */
export function jsonRows<const Columns extends JsonColumns>(dialect: SqlDialect, columns: Columns): JsonRows<Columns> {
  const types = Object.entries(parseOptions(columnsSchema, 'jsonRows', columns))
  const names = types.map(([name]) => name)
  const kinds = types.map(([, type]) => type)

  const valuesOf = (row: JsonRow<JsonColumns>, at: number): unknown => {
    const values: unknown[] = []
    // By index: thousands of values are checked here, in the time of the one writer.
    for (let column = 0; column < names.length; column++) {
      const [name, type] = [names[column] as string, kinds[column] as JsonColumn]
      const value = row[name]
      if (!holds(type, value)) throw refusal(name, at, value, type)
      values.push(value)
    }
    // Rows of one column travel as plain elements, which SQLite reads in a third of the time.
    return names.length === 1 ? values[0] : values
  }

  return {
    select: dialect.name === 'postgres' ? onPostgres(types) : onSqlite(types),
    parameter: (rows) => JSON.stringify(rows.map(valuesOf))
  }
}

/** `jsonb`, because `json` would be read anew for each column: of nine it takes a third of the time. */
function onPostgres(types: readonly (readonly [string, JsonColumn])[]): string {
  const casts = { text: '', integer: '::bigint', real: '::double precision' }
  const elements = types.length === 1 ? 'jsonb_array_elements_text' : 'jsonb_array_elements'
  const selected = types.map(
    ([name, type], at) => `(${types.length === 1 ? 'e' : `e ->> ${at}`})${casts[type]} as ${name}`
  )
  return `(select ${selected.join(', ')}, n - 1 as place
    from ${elements}(cast(? as jsonb)) with ordinality as listed(e, n))`
}

function onSqlite(types: readonly (readonly [string, JsonColumn])[]): string {
  const selected = types.map(([name, type], at) => {
    const value = types.length === 1 ? 'value' : `value ->> ${at}`
    // A double that is whole is an integer in JSON.
    return `${type === 'real' ? `cast(${value} as real)` : value} as ${name}`
  })
  return `(select ${selected.join(', ')}, key as place from json_each(?))`
}

const expected = { text: 'well-formed text without NUL', integer: 'a safe integer', real: 'a finite number' }

/** A text that has no UTF-8, or a NUL, one store would keep as another text and the other refuse. */
function holds(type: JsonColumn, value: unknown): boolean {
  if (value === null) return true
  if (type === 'text') return typeof value === 'string' && value.isWellFormed() && !value.includes('\0')
  return type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value)
}

/** Never says what a text is. */
function refusal(name: string, at: number, value: unknown, type: JsonColumn): CoreError<'STATEMENT_FAILED'> {
  const found = typeof value === 'number' ? `the number ${value}` : `of type ${typeof value}`
  return misuse('sql', '', `column ${name} of row ${at} must be ${expected[type]}, and is ${found}`)
}
