import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { testPlatform } from '@enablement/core/testing'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, inject, it } from 'vitest'
import { schemas } from '../reconciliation/stage.ts'
import { dunningStory, exportStory, nightlyStory } from './duties.ts'

const schema = `duties_${process.pid}_${process.hrtime.bigint()}`
const pool = new Pool({ connectionString: inject('postgresUrl'), max: 12, options: `-c search_path=${schema}` })
const database = postgresDatabase(pool)

beforeAll(async () => {
  await pool.query(`create schema ${schema}`)
  await migrate(database, schemas)
})
afterAll(async () => {
  await pool.query(`drop schema ${schema} cascade`)
  await database.close()
  if (!pool.ended) await pool.end()
})

describe('metering\u2019s duties, of three processes on one Postgres', () => {
  it('take each step of dunning once, while payments come in', () =>
    dunningStory(database, testPlatform({ now: Date.UTC(2040, 0, 1, 9) }), 3))
  it('compare each subscription once, and adjust once', () => nightlyStory(database, testPlatform(), 3))
  it('export each event once while it is recorded', () =>
    exportStory(database, testPlatform({ now: Date.UTC(2041, 0, 1, 9) }), 3))
})
