import assert from 'node:assert/strict'
import { migrate } from '../../sql/migrate.ts'
import type { Schema } from '../../sql/migration.ts'
import { firstRow, rows } from '../../sql/statement.ts'
import { type Case, failure, ids, insert, labelled, sample, withDatabase } from './case.ts'

const second = {
  version: 2,
  name: 'colours',
  sqlite: ["alter table samples add column colour text not null default 'red?'"],
  postgres: ["alter table samples add column colour text not null default 'red?'"]
}
const upgraded: Schema = { ...sample, migrations: [...sample.migrations, second] }

/** How schemas change. */
export const migrations: readonly Case[] = [
  withDatabase('migrates once, however often and by however many it is asked', async (db) => {
    await Promise.all([migrate(db, [sample]), migrate(db, [sample]), migrate(db, [sample])])
    await db.run(() => insert(1))
    await migrate(db, [sample])
    assert.deepEqual(await ids(db), [1])
  }),
  withDatabase('upgrades what an older version wrote, and keeps its data', async (db) => {
    await migrate(db, [sample])
    await db.run(() => labelled(1, 'kept'))
    await migrate(db, [upgraded])
    const row = await db.run(() => firstRow('select label, colour from samples'))
    assert.deepEqual({ ...row }, { label: 'kept', colour: 'red?' })
    const steps = await db.run(() =>
      rows('select version, name from enablement_migrations where component = ? order by version', 'conformance')
    )
    assert.deepEqual(
      steps.map((step) => ({ ...step })),
      [
        { version: 1, name: 'samples' },
        { version: 2, name: 'colours' }
      ]
    )
  }),
  withDatabase('takes all steps of a schema or none', async (db) => {
    const wrong = { ...second, version: 3, sqlite: ['selec 1'], postgres: ['selec 1'] }
    await failure(migrate(db, [{ ...upgraded, migrations: [...upgraded.migrations, wrong] }]), 'STATEMENT_FAILED')
    const error = await failure(
      db.run(() => rows('select * from samples')),
      'STATEMENT_FAILED'
    )
    assert.match(error.message, /migrate/)
    await migrate(db, [upgraded])
    assert.deepEqual(await ids(db), [])
  }),
  withDatabase('refuses a database that a newer version wrote', async (db) => {
    await migrate(db, [upgraded])
    const error = await failure(migrate(db, [sample]), 'SCHEMA_TOO_NEW')
    assert.deepEqual(error.detail, { component: 'conformance', found: 2, supported: 1 })
  }),
  withDatabase('refuses a step that reads differently from the one that was taken', async (db) => {
    await migrate(db, [sample])
    const [first] = sample.migrations
    assert.ok(first !== undefined)
    const edited = {
      ...first,
      sqlite: [...first.sqlite, 'create table more (id integer)'],
      postgres: [...first.postgres, 'create table more (id integer)']
    }
    const error = await failure(migrate(db, [{ ...sample, migrations: [edited, second] }]), 'SCHEMA_DRIFTED')
    assert.deepEqual(error.detail, { component: 'conformance', version: 1 })
    await migrate(db, [upgraded])
  })
]
