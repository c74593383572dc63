import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { testPlatform } from '@enablement/core/testing'
import { emptyPglite } from '@enablement/services/pglite'
import { beforeAll, describe, it } from 'vitest'
import { schemas } from '../reconciliation/stage.ts'
import { dunningStory, exportStory, nightlyStory } from './duties.ts'

let database: SqlDatabase

beforeAll(async () => {
  database = pgliteDatabase(await emptyPglite())
  await migrate(database, schemas)
}, 60_000)

describe('metering\u2019s duties on PGlite', () => {
  it('follow up failed payments', () => dunningStory(database, testPlatform({ now: Date.UTC(2040, 0, 1, 9) }), 1))
  it('compare and adjust bills', () => nightlyStory(database, testPlatform(), 1))
  it('export usage', () => exportStory(database, testPlatform({ now: Date.UTC(2041, 0, 1, 9) }), 1))
})
