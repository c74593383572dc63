import type { PGlite } from '@electric-sql/pglite'
import { pgliteDatabase } from '@enablement/core/postgres'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests } from '@enablement/core/testing'
import { oversightStoreConformance } from '@enablement/oversight/testing'
import { startPglite } from '@enablement/services/pglite'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { sqlSubject } from './subject.ts'

describe('the SQL store on SQLite', () => {
  const create = () => {
    const disk = sqliteDatabase({ path: ':memory:' })
    return sqlSubject(disk, () => disk.close())
  }
  for (const { name, run } of conformanceTests(oversightStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL store on PGlite', () => {
  let pglite: PGlite
  let schemas = 0
  beforeAll(async () => {
    pglite = await startPglite()
  }, 60_000)
  afterAll(() => pglite.close())

  // Starting one takes seconds, so the cases share it, each in a schema of its own.
  const create = async () => {
    schemas += 1
    await pglite.exec(`create schema case_${schemas}; set search_path to case_${schemas}`)
    const disk = pgliteDatabase(pglite)
    return sqlSubject(disk, () => disk.close())
  }
  for (const { name, run } of conformanceTests(oversightStoreConformance, { create, supports: {} })) it(name, run)
})
