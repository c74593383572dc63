import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { postgresDatabase } from '@enablement/core/postgres'
import { ownSchema } from '@enablement/services/own-schema'
import { beforeEach, describe, expect, inject, it } from 'vitest'
import { sizesOf } from './contest.ts'
import { contestAmongProcesses } from './contest-processes.ts'

const scale = inject('scale')
/** 20 rounds of the soak, one otherwise. */
const rounds = Array.from({ length: scale > 1 ? 20 : 1 }, (_, at) => at + 1)

describe('four processes that are killed at random, on Postgres', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'metering-contest-'))
    return () => rmSync(folder, { recursive: true })
  })

  it.each(rounds)(
    'count and bill each event once, sell what there is, and leave a wallet that adds up (round %d)',
    { timeout: 120_000 },
    async (seed) => {
      const own = ownSchema(inject('postgresUrl'))
      await own.create()
      const db = postgresDatabase(own.pool)
      try {
        const address = { kind: 'postgres', place: own.connectionString } as const
        const sizes = sizesOf(Math.min(scale, 3))
        const tally = await contestAmongProcesses(db, address, folder, {
          places: 4,
          kills: scale < 1 ? 2 : scale > 1 ? 15 : 6,
          sizes,
          seed
        })
        expect(tally.adjusted).toBeGreaterThan(0)
      } finally {
        await db.close()
        await own.drop()
      }
    }
  )
})
