import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, inject, it } from 'vitest'
import { postgresSchema } from '../sql/postgres.ts'
import { contestAmongProcesses } from './deciding-processes.ts'

const scale = inject('scale')
/** 20 rounds of the soak, one otherwise. */
const rounds = Array.from({ length: scale > 1 ? 20 : 1 }, (_, at) => at + 1)
/** Eight processes on a server that shares two cores with them take some 15 s for five hundred. */
const agreed = scale < 1 ? 20 : 500

describe('eight processes that are killed at random, on Postgres', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-contest-'))
    return () => rmSync(folder, { recursive: true })
  })

  it.each(rounds)(
    'come to one verdict for each request and execute it at most once, all on record (round %d)',
    { timeout: 120_000 },
    async (seed) => {
      const { db, place, drop } = await postgresSchema(inject('postgresUrl'))
      try {
        await contestAmongProcesses(db, { kind: 'postgres', place }, folder, {
          processes: 8,
          kills: scale < 1 ? 4 : 8,
          contested: { agreed, disputed: agreed / 10 },
          seed
        })
      } finally {
        await drop()
      }
    }
  )
})
