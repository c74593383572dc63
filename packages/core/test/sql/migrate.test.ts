import { migrate, type Schema } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { describe, expect, it } from 'vitest'

const step = (version: number): Schema['migrations'][number] => ({
  version,
  name: `step ${version}`,
  sqlite: [`create table t${version} (id integer)`],
  postgres: [`create table t${version} (id integer)`]
})

const schema = (component: string, ...versions: number[]): Schema => ({ component, migrations: versions.map(step) })

describe('migrate', () => {
  it.each([
    ['no schema at all', undefined, ''],
    ['a gap in the versions', [schema('a', 1, 3)], 'versions'],
    ['versions out of order', [schema('a', 2, 1)], 'versions'],
    ['versions from 0', [schema('a', 0, 1)], 'version'],
    ['a schema without steps', [schema('a')], 'migrations'],
    ['a component twice', [schema('a', 1), schema('a', 1)], 'once'],
    ['a component without a name', [schema('', 1)], 'component'],
    ['a step without statements', [{ component: 'a', migrations: [{ ...step(1), sqlite: [] }] }], 'sqlite'],
    [
      'a step for one dialect',
      [{ component: 'a', migrations: [{ version: 1, name: 'x', sqlite: ['select 1'] }] }],
      'postgres'
    ],
    ['a field that is not known', [{ ...schema('a', 1), version: 1 }], 'version']
  ])('refuses %s before it touches the database', async (_, schemas, word) => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await expect(migrate(db, schemas as never)).rejects.toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining(word) })
    )
    await expect(migrate(db, [schema('b', 1)])).resolves.toBeUndefined()
  })

  it('refuses a ledger with a hole', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [schema('a', 1, 2)])
    await db.run(function* () {
      yield { text: 'delete from enablement_migrations where version = 1', values: [] }
    })
    await expect(migrate(db, [schema('a', 1, 2, 3)])).rejects.toMatchObject({
      code: 'SCHEMA_DRIFTED',
      detail: { component: 'a', version: 1 }
    })
  })

  it('keeps schemas that came before one that fails', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    const wrong: Schema = { component: 'b', migrations: [{ ...step(2), version: 1, sqlite: ['selec 1'] }] }
    await expect(migrate(db, [schema('a', 1), wrong, schema('c', 3 - 2)])).rejects.toMatchObject({
      code: 'STATEMENT_FAILED'
    })
    const components = await db.run(function* () {
      return (yield { text: 'select component from enablement_migrations', values: [] }).rows
    })
    expect(components).toEqual([{ component: 'a' }])
  })
})
