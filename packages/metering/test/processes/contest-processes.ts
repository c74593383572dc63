import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, childProcesses } from '@enablement/build/child-processes'
import { bundledProgram } from '@enablement/build/program'
import { sleep, systemClock } from '@enablement/core'
import { auditSchema } from '@enablement/core/audit'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { seededRandom } from '@enablement/core/testing'
import { meteringSchema } from '@enablement/metering/sql'
import { isFor, type Sizes } from './contest.ts'
import { checkContest, type Tally } from './contest-check.ts'
import type { Address } from './database-at.ts'
import type { Fate } from './fatal-points.ts'
import { fileWitness } from './witness.ts'

/** What a process is started with. */
export interface ContestChildCall {
  readonly address: Address
  readonly log: string
  readonly place: number
  readonly places: number
  readonly sizes: Sizes
  /** When the time of bills began to pass, epoch milliseconds. */
  readonly startedAt: number
  readonly seed: number
  /** When it ends itself. */
  readonly fate?: Fate
}

/** What the witness is told for each item at least, in bytes. */
const BYTES_PER_ITEM = 20

/**
 * Lets processes do the same work all at once, kills some of them at random, starts others in their place, and looks at
 * what is left when all is done. `db` is what is at `address`, with nothing in it; `folder` is for what is made on the way.
 */
export async function contestAmongProcesses(
  db: SqlDatabase,
  address: Address,
  folder: string,
  contest: { readonly places: number; readonly kills: number; readonly sizes: Sizes; readonly seed: number }
): Promise<Tally> {
  const { places, kills, sizes, seed } = contest
  const random = seededRandom(seed)
  await migrate(db, [auditSchema, meteringSchema])
  const log = join(folder, `told-${seed}.log`)
  writeFileSync(log, '')
  const program = await bundledProgram(join(import.meta.dirname, 'contest-child.ts'), folder)
  const startedAt = systemClock.now() + 400
  const children = childProcesses()
  const start = (place: number, fate?: Fate): Child => {
    const seed = random.below(2 ** 31)
    const call: ContestChildCall = { address, log, place, places, sizes, startedAt, seed, ...(fate && { fate }) }
    return children.start(program, [JSON.stringify(call)])
  }
  /** Half of those who die do so where a crash point is, the others wherever they are when they are killed. */
  let fates = Math.floor(kills / 2)
  const startMortal = (place: number): Child => {
    if (fates === 0) return start(place)
    fates -= 1
    return start(
      place,
      random.below(2) === 0 ? { of: 'all', at: random.below(600) } : { of: 'replies-lost', at: random.below(100) }
    )
  }
  const running = Array.from({ length: places }, (_, place) => startMortal(place))
  const revive = (): void => {
    for (const [place, child] of running.entries()) if (child.hasEnded()) running[place] = startMortal(place)
  }
  try {
    const bytes = BYTES_PER_ITEM * itemsIn(sizes, places)
    const moments = Array.from({ length: Math.ceil(kills / 2) }, () => random.below(bytes)).sort(
      (one, other) => one - other
    )
    for (const moment of moments) {
      while (statSync(log).size < moment) {
        revive()
        await sleep(systemClock, 2)
      }
      // Not right after an answer, but anywhere between that and the next ones.
      await sleep(systemClock, random.below(8))
      const victim = random.below(places)
      await (running[victim] as Child).end('SIGKILL')
      running[victim] = startMortal(victim)
    }
    for (const place of running.keys()) while (!(await hasFinished(running[place] as Child))) revive()
    await Promise.all(running.map((child) => child.end('SIGTERM')))
  } finally {
    await children.endAll()
  }
  return checkContest(db, fileWitness(log), { sizes, startedAt })
}

const hasFinished = (child: Child): Promise<boolean> =>
  child.said('finished').then(
    () => true,
    () => false
  )

/** Items of all processes together. */
function itemsIn(sizes: Sizes, places: number): number {
  const { events, spends, quotaHolds, takes, grants, charges, creditHolds, adjustments } = sizes
  const keyed = [events, spends, quotaHolds, charges, creditHolds, adjustments].flatMap((count) =>
    Array.from({ length: count }, (_, number) => number)
  )
  const shares = Array.from(
    { length: places },
    (_, place) => keyed.filter((number) => isFor(number, place, places)).length
  )
  return shares.reduce((sum, share) => sum + share, 0) + places * (takes + grants)
}
