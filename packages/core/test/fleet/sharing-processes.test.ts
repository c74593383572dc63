import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fleetSchema } from '@enablement/core/fleet'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { afterAll, describe, it } from 'vitest'
import { expectProcessesToAgree } from './sharing-processes.ts'

describe('processes that share a breaker in a SQLite file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-sharing-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  it('agree on a break and one probe, also when the one that probes is killed', async () => {
    const path = join(folder, 'breakers.db')
    const db = sqliteDatabase({ path })
    await migrate(db, [fleetSchema])
    await db.close()
    await expectProcessesToAgree('sqlite', path, 'hook')
  })
})
