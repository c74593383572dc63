import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { canonicalJson } from '../json/canonical-json.ts'
import type { Migration, Schema } from './migration.ts'
import type { Sql, SqlDatabase, SqlDialect } from './sql-database.ts'
import { execute, integerOf, rows, textOf } from './statement.ts'

/** The Postgres advisory lock under which schemas change: the first eight bytes of SHA-256("enablement_migrations"). */
const LOCK = -1_382_715_768_938_618_055n

const LEDGER = {
  sqlite: `create table if not exists enablement_migrations (
    component text not null, version integer not null, name text not null, checksum text not null,
    applied_at integer not null, primary key (component, version)) strict`,
  postgres: `create table if not exists enablement_migrations (
    component text not null, version bigint not null, name text not null, checksum text not null,
    applied_at bigint not null, primary key (component, version))`
}

const migrationSchema: z.ZodType<Migration> = z.strictObject({
  version: z.int().min(1),
  name: z.string().min(1),
  sqlite: z.array(z.string().min(1)).min(1),
  postgres: z.array(z.string().min(1)).min(1)
})

const schemasSchema: z.ZodType<readonly Schema[]> = z
  .array(
    z.strictObject({
      component: z.string().regex(/^[a-z][a-z0-9_-]*$/, 'must be lower case, such as "oversight"'),
      migrations: z
        .array(migrationSchema)
        .min(1)
        .refine((steps) => steps.every(({ version }, at) => version === at + 1), 'versions must be 1, 2, 3 … in order')
    })
  )
  .refine(
    (schemas) => new Set(schemas.map(({ component }) => component)).size === schemas.length,
    'each component may occur once'
  )

/**
 * Brings each schema to its newest version, one unit a schema: a start that dies leaves each wholly before or wholly
 * after its steps. Safe when several processes start at once: one does the work, the others wait and find it done (on
 * SQLite for as long as a lock is waited for, 5 s; then `migrate` throws `STORE_UNAVAILABLE`, and is called again).
 * Stores do not migrate by themselves, so that a user decides when a schema changes.
 *
 * Throws `INVALID_OPTIONS` for schemas that are not well-formed, `SCHEMA_TOO_NEW` when a newer version of the component
 * wrote the database, `SCHEMA_DRIFTED` when a step that the database has taken reads differently now, and what the
 * database throws.
 */
export async function migrate(db: SqlDatabase, schemas: readonly Schema[]): Promise<void> {
  const checked = parseOptions(schemasSchema, 'migrate', schemas)
  for (const schema of checked) await db.run(() => upgrade(db.dialect, schema))
}

function* upgrade(dialect: SqlDialect, schema: Schema): Sql<void> {
  const { component, migrations } = schema
  // `create table if not exists` itself races on Postgres, so the lock comes first. SQLite's writers are alone anyway.
  if (dialect.name === 'postgres') yield* execute('select pg_advisory_xact_lock(?)', LOCK)
  yield* execute(LEDGER[dialect.name])
  const found = yield* takenBy(component)
  const newest = Math.max(0, ...found.keys())
  const supported = migrations.length
  if (newest > supported) {
    const message = `${component} is at version ${newest} in this database, and this release knows ${supported}`
    throw new CoreError('SCHEMA_TOO_NEW', message, { component, found: newest, supported })
  }
  for (const { version, name, [dialect.name]: statements } of migrations) {
    const checksum = bytesToHex(sha256(utf8ToBytes(canonicalJson(statements))))
    if (version > newest) {
      for (const statement of statements) yield* execute(statement)
      yield* execute(
        `insert into enablement_migrations(component, version, name, checksum, applied_at)
         values (?, ?, ?, ?, ${dialect.now})`,
        component,
        version,
        name,
        checksum
      )
    } else if (found.get(version) !== checksum) {
      const message = `version ${version} of ${component} in this database is not the one of this release`
      throw new CoreError('SCHEMA_DRIFTED', message, { component, version })
    }
  }
}

/** The checksums of the steps that the database has taken, by version. */
function* takenBy(component: string): Sql<ReadonlyMap<number, string>> {
  const taken = yield* rows('select version, checksum from enablement_migrations where component = ?', component)
  return new Map(taken.map((row) => [integerOf(row, 'version'), textOf(row, 'checksum')]))
}
