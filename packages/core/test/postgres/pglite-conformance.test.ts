import { PGlite } from '@electric-sql/pglite'
import { pgliteDatabase } from '@enablement/core/postgres'
import { conformanceTests, sqlDatabaseConformance } from '@enablement/core/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

describe('PGlite', () => {
  const pglite = new PGlite()
  // Starting takes seconds on a busy machine; no test should pay for it.
  beforeAll(() => pglite.waitReady, 60_000)
  afterAll(() => pglite.close())
  const create = async () => {
    await pglite.exec('drop schema public cascade; create schema public')
    return pgliteDatabase(pglite)
  }
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})
