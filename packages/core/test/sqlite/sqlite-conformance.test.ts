import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests } from '@enablement/core/testing'
import { sqlDatabaseConformance } from '../../src/testing/sql-database-conformance.ts'
import { afterAll, describe, it } from 'vitest'

describe('a SQLite database in memory', () => {
  const create = async () => sqliteDatabase({ path: ':memory:' })
  for (const { name, run } of conformanceTests(sqlDatabaseConformance, { create, supports: {} })) it(name, run)
})

describe('a SQLite database in a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-sqlite-'))
  let made = 0
  const create = async () => sqliteDatabase({ path: join(folder, `${made++}.db`) })
  for (const { name, run } of conformanceTests(sqlDatabaseConformance, { create, supports: {} })) it(name, run)
  afterAll(() => rmSync(folder, { recursive: true }))
})
