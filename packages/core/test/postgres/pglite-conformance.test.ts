import { PGlite } from '@electric-sql/pglite'
import { pgliteDatabase } from '@enablement/core/postgres'
import { conformanceTests } from '@enablement/core/testing'
import { sqlDatabaseConformance } from '../../src/testing/sql-database-conformance.ts'
import { afterAll, describe, it } from 'vitest'

describe('PGlite', () => {
  const pglite = new PGlite()
  const create = async () => {
    await pglite.exec('drop schema public cascade; create schema public')
    return pgliteDatabase(pglite)
  }
  for (const { name, run } of conformanceTests(sqlDatabaseConformance, { create, supports: {} })) it(name, run, 20_000)
  afterAll(() => pglite.close())
})
