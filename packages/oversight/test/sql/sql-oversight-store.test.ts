import { pgliteDatabase } from '@enablement/core/postgres'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { conformanceTests } from '@enablement/core/testing'
import { oversightStoreConformance } from '@enablement/oversight/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { describe, it } from 'vitest'
import { sqlSubject } from './subject.ts'

describe('the SQL store on SQLite', () => {
  const create = () => {
    const disk = sqliteDatabase({ path: ':memory:' })
    return sqlSubject(disk, () => disk.close())
  }
  for (const { name, run } of conformanceTests(oversightStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the SQL store on PGlite', () => {
  const create = async () => {
    const disk = pgliteDatabase(await emptyPglite())
    return sqlSubject(disk, () => disk.close())
  }
  for (const { name, run } of conformanceTests(oversightStoreConformance, { create, supports: {} })) it(name, run)
})
