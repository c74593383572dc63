import { postgresDatabase } from '@enablement/core/postgres'
import { conformanceTests, sqlDatabaseConformance } from '@enablement/core/testing'
import { afterAll, describe, expect, it } from 'vitest'
import { testSchemas } from './test-schemas.ts'

describe('Postgres', () => {
  const schemas = testSchemas()
  afterAll(() => schemas.drop())
  const create = async () => postgresDatabase(await schemas.pool())
  const exam = conformanceTests(sqlDatabaseConformance, { create, supports: {} })
  it.for(exam.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})
