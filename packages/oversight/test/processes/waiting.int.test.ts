import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, inject, it } from 'vitest'
import { postgresSchema } from '../sql/postgres.ts'
import { surviveKillsWhileWaiting } from './waiting-processes.ts'

describe('a process that is killed in every wait of a chain, on Postgres', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-waiting-'))
    return () => rmSync(folder, { recursive: true })
  })

  it('leaves each tier asked once and on time, and the final action taken once', { timeout: 120_000 }, async () => {
    const { db, place, drop } = await postgresSchema(inject('postgresUrl'))
    try {
      await surviveKillsWhileWaiting(db, { kind: 'postgres', place }, folder)
    } finally {
      await drop()
    }
  })
})
