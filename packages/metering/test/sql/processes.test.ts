import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { meteringSchema } from '@enablement/metering/sql'
import { describe, it } from 'vitest'
import { spendFromProcesses } from './spending.ts'

describe('four processes on one SQLite file', () => {
  it('are sold what there is and not a unit more, each key once, though two of them are killed', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'metering-'))
    try {
      const file = path.join(folder, 'quotas.db')
      await using db = sqliteDatabase({ path: file })
      await migrate(db, [meteringSchema])
      await spendFromProcesses(db, ['sqlite', file])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
