import { firstRow, type SqlDatabase, type SqlValue } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { fc, test } from '@fast-check/vitest'
import { afterAll, describe, expect } from 'vitest'

/** A piece of a select list, the value it stands for, and what has to be passed for it. */
interface Piece {
  readonly text: string
  readonly value: SqlValue
  readonly given: readonly SqlValue[]
}

/** Text made of what confuses readers of SQL: quotes, placeholders, comment marks, semicolons and dollars. */
const tricky = fc
  .array(fc.constantFrom("'", '"', '?', '$1', '$$', ':a', '--', '/*', '*/', ';', 'returning', '\\', ' ', 'é', '😀'), {
    maxLength: 8
  })
  .map((parts) => parts.join(''))

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`

const piece: fc.Arbitrary<Piece> = fc.oneof(
  tricky.map((text) => ({ text: '?', value: text, given: [text] })),
  fc.maxSafeInteger().map((value) => ({ text: '?', value, given: [value] })),
  tricky.map((text) => ({ text: quoted(text), value: text, given: [] })),
  // Parted rather than taken out, which could leave another end of the comment where there was none.
  tricky.map((text) => ({ text: `/* ${text.replaceAll('*/', '* /')} */ 1`, value: 1, given: [] })),
  tricky.map((text) => ({ text: `2 -- ${text}\n`, value: 2, given: [] }))
)

describe('placeholders', () => {
  const db: SqlDatabase = sqliteDatabase({ path: ':memory:' })
  afterAll(() => db.close())

  test.prop([fc.array(piece, { minLength: 1, maxLength: 6 }), tricky])(
    'are what stands outside of strings, names and comments, whatever those hold',
    async (pieces, name) => {
      const named = `"${name.replaceAll('"', '""')}!"`
      const list = pieces.map(({ text }, at) => `${text} as c${at}`).join(', ')
      const given = pieces.flatMap((one) => one.given)
      const row = await db.run(() => firstRow(`select ${list}, 3 as ${named}`, ...given))
      const expected = Object.fromEntries(pieces.map(({ value }, at) => [`c${at}`, Object.is(value, -0) ? 0 : value]))
      expect({ ...row }).toEqual({ ...expected, [`${name}!`]: 3 })
    }
  )
})
