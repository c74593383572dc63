import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, inject, it } from 'vitest'
import { sizesOf } from './contest.ts'
import { contestAmongProcesses } from './contest-processes.ts'
import { databaseAt } from './database-at.ts'

const scale = inject('scale')
/** 20 rounds of the soak, one otherwise. */
const rounds = Array.from({ length: scale > 1 ? 20 : 1 }, (_, at) => at + 1)

describe('three processes that are killed at random, on one SQLite file', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'metering-contest-'))
    return () => rmSync(folder, { recursive: true })
  })

  it.each(rounds)(
    'count and bill each event once, sell what there is, and leave a wallet that adds up (round %d)',
    { timeout: 120_000 },
    async (seed) => {
      const address = { kind: 'sqlite', place: join(folder, 'metering.db') } as const
      await using db = databaseAt(address)
      const sizes = sizesOf(Math.min(scale, 3))
      const tally = await contestAmongProcesses(db, address, folder, {
        places: 3,
        kills: scale < 1 ? 2 : scale > 1 ? 15 : 5,
        sizes,
        seed
      })
      expect(tally.adjusted).toBeGreaterThan(0)
    }
  )
})
