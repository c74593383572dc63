import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { beforeEach, describe, it } from 'vitest'
import { surviveKills } from './killed-workers.ts'

describe('workers that are killed at random, on SQLite', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-schedule-killed-'))
    return () => rmSync(folder, { recursive: true })
  })

  it('lose no due row, and no effect takes hold under two fences', { timeout: 600_000 }, async () => {
    const path = join(folder, 'tasks.db')
    await using db = sqliteDatabase({ path, durability: 'process' })
    await surviveKills(db, 'sqlite', path, folder)
  })
})
