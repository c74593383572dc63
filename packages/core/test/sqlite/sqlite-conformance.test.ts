import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, sqlDatabaseConformance } from '@enablement/core/testing'
import { beforeAll, describe, expect, it } from 'vitest'

describe('a SQLite database in memory', () => {
  const create = async () => sqliteDatabase({ path: ':memory:' })
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('a SQLite database in a file', () => {
  // Made only when a test runs: collecting the tests, as a filter does, ends without cleaning up.
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-sqlite-'))
    return () => rmSync(folder, { recursive: true })
  })
  let made = 0
  const create = async () => sqliteDatabase({ path: join(folder, `${made++}.db`) })
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})
