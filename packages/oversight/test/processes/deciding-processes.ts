import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, childProcesses } from '@enablement/build/child-processes'
import { bundledProgram } from '@enablement/build/program'
import { sleep, systemClock } from '@enablement/core'
import type { SqlDatabase } from '@enablement/core/sql'
import { seededRandom } from '@enablement/core/testing'
import { expect } from 'vitest'
import { APPROVERS, type Contestant, type Contested, contestantsOf } from './contest.ts'
import { checkContest, type Tally } from './contest-check.ts'
import { migrated, outcomeOf } from './contest-store.ts'
import type { Address } from './database-at.ts'
import { fileWitness } from './witness.ts'

/** What a process is started with. */
export interface DecidingChildCall {
  readonly address: Address
  readonly log: string
  readonly contestant: Contestant
  readonly contested: Contested
  readonly seed: number
}

/** What the witness is told for each request at least: a little less than the lines of all votes. */
const BYTES_PER_REQUEST = APPROVERS.length * 100

/**
 * Lets processes open, decide and execute the same requests, kills some of them at random, starts others in their place, and
 * looks at what is left when all are done. `db` is what is at `address`, with nothing in it; `folder` is for what is made on
 * the way.
 */
export async function contestAmongProcesses(
  db: SqlDatabase,
  address: Address,
  folder: string,
  {
    processes,
    kills,
    contested,
    seed
  }: { readonly processes: number; readonly kills: number; readonly contested: Contested; readonly seed: number }
): Promise<Tally> {
  const random = seededRandom(seed)
  await migrated(db)
  const log = join(folder, `effects-${seed}.log`)
  writeFileSync(log, '')
  const program = await bundledProgram(join(import.meta.dirname, 'deciding-child.ts'), folder)
  const children = childProcesses()
  const slots = contestantsOf(processes)
  const start = (contestant: Contestant): Child => {
    const call: DecidingChildCall = { address, log, contestant, contested, seed: random.below(2 ** 31) }
    return children.start(program, [JSON.stringify(call)])
  }
  const running = slots.map((contestant) => start(contestant))
  try {
    const bytes = BYTES_PER_REQUEST * (contested.agreed + contested.disputed)
    const moments = Array.from({ length: kills }, () => random.below(bytes)).sort((one, other) => one - other)
    for (const moment of moments) {
      while (statSync(log).size < moment) {
        expect(running.some((child) => child.hasEnded())).toBe(false)
        await sleep(systemClock, 2)
      }
      const victim = random.below(processes)
      await (running[victim] as Child).end('SIGKILL')
      running[victim] = start(slots[victim] as Contestant)
    }
    await Promise.all(running.map((child) => child.said('finished')))
    await Promise.all(running.map((child) => child.end('SIGTERM')))
  } finally {
    await children.endAll()
  }
  const witness = fileWitness(log)
  return checkContest(await outcomeOf(db, witness), witness, { contested, kills })
}
