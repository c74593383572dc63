import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { testPlatform } from '@enablement/core/testing'
import { ownSchema } from '@enablement/services/own-schema'
import { afterAll, beforeAll, describe, inject, it } from 'vitest'
import { schemas } from '../reconciliation/stage.ts'
import { dunningStory, exportStory, nightlyStory } from './duties.ts'

const own = ownSchema(inject('postgresUrl'), { max: 12 })
const database = postgresDatabase(own.pool)

beforeAll(async () => {
  await own.create()
  await migrate(database, schemas)
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

describe('metering\u2019s duties, of three processes on one Postgres', () => {
  it('take each step of dunning once, while payments come in', () =>
    dunningStory(database, testPlatform({ now: Date.UTC(2040, 0, 1, 9) }), 3))
  it('compare each subscription once, and adjust once', () => nightlyStory(database, testPlatform(), 3))
  it('export each event once while it is recorded', () =>
    exportStory(database, testPlatform({ now: Date.UTC(2041, 0, 1, 9) }), 3))
})
