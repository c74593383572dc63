import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests, sqlDatabaseConformance } from '@enablement/core/testing'
import { afterAll, describe, expect, it } from 'vitest'

describe('a SQLite database in memory', () => {
  const create = async () => sqliteDatabase({ path: ':memory:' })
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('a SQLite database in a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-sqlite-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  let made = 0
  const create = async () => sqliteDatabase({ path: join(folder, `${made++}.db`) })
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})
