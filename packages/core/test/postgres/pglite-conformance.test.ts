import { pgliteDatabase } from '@enablement/core/postgres'
import { conformanceTests, sqlDatabaseConformance } from '@enablement/core/testing'
import { startPglite } from '@enablement/services/pglite'
import { afterAll, describe, expect, it } from 'vitest'

const pglite = await startPglite()

describe('PGlite', () => {
  // Starting takes seconds on a busy machine; no test should pay for it.
  afterAll(() => pglite.close())
  const create = async () => {
    await pglite.exec('drop schema public cascade; create schema public')
    return pgliteDatabase(pglite)
  }
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})
