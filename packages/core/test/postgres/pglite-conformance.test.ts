import { pgliteDatabase } from '@enablement/core/postgres'
import { conformanceTests, sqlDatabaseConformance } from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { describe, expect, it } from 'vitest'

describe('PGlite', () => {
  const create = async () => pgliteDatabase(await emptyPglite())
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})
