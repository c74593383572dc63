import { conformanceTests } from '@enablement/core/testing'
import { oversightStoreConformance } from '@enablement/oversight/testing'
import { describe, inject, it } from 'vitest'
import { postgresSchema } from './postgres.ts'
import { sqlSubject } from './subject.ts'

describe('the SQL store on Postgres', () => {
  const create = async () => {
    const { db, drop } = await postgresSchema(inject('postgresUrl'))
    return sqlSubject(db, drop)
  }
  for (const { name, run } of conformanceTests(oversightStoreConformance, { create, supports: {} })) it(name, run)
})
