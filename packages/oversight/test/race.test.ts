import { sqliteDatabase } from '@enablement/core/sqlite'
import { describe, inject, it } from 'vitest'
import { race } from './race.ts'

describe('eight deciders and eight executors on SQLite', () => {
  it('come to one verdict and at most one execution each, all on record', async () => {
    await using disk = sqliteDatabase({ path: ':memory:' })
    await race(disk, Math.ceil(40 * Math.min(inject('scale'), 2.5)))
  })
})
