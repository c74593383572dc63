import { pgliteDatabase } from '@enablement/core/postgres'
import { type JsonColumn, type JsonColumns, jsonRows, rows, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { startPglite } from '@enablement/services/pglite'
import { fc, test } from '@fast-check/vitest'
import { afterAll, describe, expect, inject, it } from 'vitest'

const pglite = await startPglite()
afterAll(() => pglite.close())

const numRuns = Math.ceil(60 * inject('scale'))

const stores: readonly { name: string; db: SqlDatabase }[] = [
  { name: 'SQLite', db: sqliteDatabase({ path: ':memory:' }) },
  { name: 'PGlite', db: pgliteDatabase(pglite) }
]

const values: Readonly<Record<JsonColumn, fc.Arbitrary<string | number | null>>> = {
  text: fc.oneof(
    fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed() && !text.includes('\0')),
    fc.constantFrom(null, '', 'null', '\u0001', '\\u0000', '"', '[1]', '{"a":1}', '😀', '1e3', '007')
  ),
  integer: fc.oneof(fc.maxSafeInteger(), fc.constantFrom(null, 0, 9e15, -9e15, Number.MAX_SAFE_INTEGER)),
  real: fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(null, 0, 3, 0.1, 1e21, 5e-324, Number.MAX_VALUE)
  )
}

/** Columns, and rows for them. */
const given = fc
  .array(fc.constantFrom<JsonColumn>('text', 'integer', 'real'), { minLength: 1, maxLength: 4 })
  .chain((types) =>
    fc.record({
      columns: fc.constant(Object.fromEntries(types.map((type, at) => [`c${at}`, type]))),
      list: fc.array(fc.record(Object.fromEntries(types.map((type, at) => [`c${at}`, values[type]]))), {
        maxLength: 12
      })
    })
  )

/** As the stores give them: a whole double is an integer to SQLite's driver, and -0 is 0 in JSON. */
const plain = (list: readonly object[]): object[] =>
  list.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [name, typeof value === 'number' ? value + 0 : value])
    )
  )

describe.for(stores)('rows given to $name as one value', ({ db }) => {
  afterAll(() => db.close())

  const roundTrip = async (columns: JsonColumns, list: readonly Readonly<Record<string, string | number | null>>[]) => {
    const made = jsonRows(db.dialect, columns)
    const text = `select given.* from ${made.select} as given order by given.place`
    return db.run(() => rows(text, made.parameter(list)))
  }

  test.prop([given], { numRuns })('arrive in their order, exact, whatever they hold', async ({ columns, list }) => {
    const found = await roundTrip(columns, list)
    expect(plain(found)).toEqual(plain(list.map((row, place) => ({ ...row, place }))))
  })

  it('are typed, also where they are null or whole', async () => {
    const made = jsonRows(db.dialect, { a: 'text', b: 'integer', c: 'real' })
    const text = `select a || 'x' as a, b / 2 as b, c / 2 as c from ${made.select} as given order by place`
    const found = await db.run(() =>
      rows(
        text,
        made.parameter([
          { a: '1', b: 3, c: 3 },
          { a: null, b: null, c: null }
        ])
      )
    )
    expect(found.map((row) => ({ ...row }))).toEqual([
      { a: '1x', b: 1, c: 1.5 },
      { a: null, b: null, c: null }
    ])
  })

  it.each([
    ['a lone surrogate', 'text', '\ud800', 'well-formed text without NUL'],
    ['a NUL', 'text', 'a\0b', 'well-formed text without NUL'],
    ['a number for text', 'text', 1, 'well-formed text without NUL'],
    ['text for a number', 'integer', '1', 'a safe integer'],
    ['a fraction', 'integer', 1.5, 'a safe integer'],
    ['an integer beyond 2^53 - 1', 'integer', 2 ** 53, 'a safe integer'],
    ['NaN', 'real', Number.NaN, 'a finite number'],
    ['infinity', 'real', Number.POSITIVE_INFINITY, 'a finite number'],
    ['nothing', 'text', undefined, 'well-formed text without NUL']
  ] as const)('are refused with %s, by row and column and without what a text says', (_, type, wrong, expected) => {
    for (const columns of [{ c0: type }, { c0: type, other: 'text' }] as const) {
      const made = jsonRows(db.dialect, columns as JsonColumns)
      const list = [
        { c0: null, other: 'secret' },
        { c0: wrong as string, other: 'secret' }
      ]
      const reason = expect.stringMatching(new RegExp(`column c0 of row 1 must be ${expected}`))
      expect(() => made.parameter(list)).toThrow(expect.objectContaining({ code: 'STATEMENT_FAILED', message: reason }))
      expect(() => made.parameter(list)).not.toThrow(/secret|a.b/)
    }
  })

  it.each([
    ['no column', {}],
    ['a name that is a statement', { 'a; drop': 'text' }],
    ['a name in upper case', { A: 'text' }],
    ['the name of the place', { place: 'integer' }],
    ['a type that JSON has not', { a: 'bytes' }]
  ])('are refused with %s', (_, columns) => {
    const wrong = columns as unknown as JsonColumns
    expect(() => jsonRows(db.dialect, wrong)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
