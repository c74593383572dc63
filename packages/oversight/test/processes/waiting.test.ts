import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, it } from 'vitest'
import { databaseAt } from './database-at.ts'
import { surviveKillsWhileWaiting } from './waiting-processes.ts'

describe('a process that is killed in every wait of a chain, on SQLite', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-waiting-'))
    return () => rmSync(folder, { recursive: true })
  })

  it('leaves each tier asked once and on time, and the final action taken once', { timeout: 120_000 }, async () => {
    const address = { kind: 'sqlite', place: join(folder, 'oversight.db') } as const
    await using db = databaseAt(address)
    await surviveKillsWhileWaiting(db, address, folder)
  })
})
