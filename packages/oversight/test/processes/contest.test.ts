import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuditLog } from '@enablement/core/audit'
import { pgliteDatabase } from '@enablement/core/postgres'
import { startWorker } from '@enablement/core/schedule'
import { seededRandom } from '@enablement/core/testing'
import type { Oversight } from '@enablement/oversight'
import { memoryOversightStore } from '@enablement/oversight/memory'
import { sqlOversightStore } from '@enablement/oversight/sql'
import { emptyPglite } from '@enablement/services/pglite'
import { beforeEach, describe, expect, inject, it } from 'vitest'
import { type Contested, contest, contestantsOf, oversightWith, TENANT } from './contest.ts'
import { checkContest } from './contest-check.ts'
import { migrated, outcomeOf, requestsIn } from './contest-store.ts'
import { databaseAt } from './database-at.ts'
import { contestAmongProcesses } from './deciding-processes.ts'
import { type Witness, witnessInProcess } from './witness.ts'

const scale = inject('scale')
/** 20 rounds of the soak, one otherwise. */
const rounds = Array.from({ length: scale > 1 ? 20 : 1 }, (_, at) => at + 1)
const share = Math.min(scale, 1)
const contested: Contested = { agreed: 500 * share, disputed: 50 * share }
/** PGlite takes five times as long as the others, which have the same text or the same database. */
const fewer: Contested = scale > 1 ? contested : { agreed: 100 * share, disputed: 10 * share }

/** Eight at the same time in this process, each through what `from` gives it, until nothing is left to do. */
async function contestInProcess(
  from: readonly Oversight[],
  contested: Contested,
  witness: Witness,
  seed: number
): Promise<void> {
  const workers = from.map(({ duties }) => startWorker({ duties, pollMs: 50 }))
  const contestants = contestantsOf(8).map((contestant, at) =>
    contest(from[at % from.length] as Oversight, contestant, { contested, random: seededRandom(seed + at), witness })
  )
  await Promise.all(contestants)
  await Promise.all(workers.map((worker) => worker.close()))
}

describe('eight deciders in one process', () => {
  it.each(rounds)(
    'come to one verdict and one execution for each request in memory, all on record (round %d)',
    async (seed) => {
      const store = memoryOversightStore()
      const witness = witnessInProcess()
      await contestInProcess([oversightWith(store, witness)], contested, witness, seed)
      const outcome = { requests: await requestsIn(store), entries: store.evidence(TENANT) }
      expect(checkContest(outcome, witness, { contested, kills: 0 })).toMatchObject({ inDoubt: 0 })
    }
  )

  it.each(rounds)('do so on PGlite (round %d)', { timeout: 120_000 }, async (seed) => {
    const db = pgliteDatabase(await emptyPglite())
    await migrated(db)
    const witness = witnessInProcess()
    const each = contestantsOf(8).map(() =>
      oversightWith(sqlOversightStore(db, { audit: createAuditLog({ db }) }), witness)
    )
    await contestInProcess(each, fewer, witness, seed)
    const tally = checkContest(await outcomeOf(db, witness), witness, { contested: fewer, kills: 0 })
    expect(tally).toMatchObject({ inDoubt: 0 })
  })
})

describe('four processes that are killed at random, on SQLite', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-contest-'))
    return () => rmSync(folder, { recursive: true })
  })

  it.each(rounds)(
    'come to one verdict for each request and execute it at most once, all on record (round %d)',
    { timeout: 120_000 },
    async (seed) => {
      const address = { kind: 'sqlite', place: join(folder, 'oversight.db') } as const
      await using db = databaseAt(address)
      await contestAmongProcesses(db, address, folder, { processes: 4, kills: 6, contested, seed })
    }
  )
})
