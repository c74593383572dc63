import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundledProgram } from '@enablement/build/program'
import { sleep, systemClock } from '@enablement/core'
import { lockSchema } from '@enablement/core/lock'
import { createSchedule, every, scheduleSchema } from '@enablement/core/schedule'
import { execute, integerOf, migrate, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { seededRandom } from '@enablement/core/testing'
import { expect, inject } from 'vitest'

const scale = inject('scale')
const PROCESSES = Math.min(Math.floor(2 + scale), 8)
const KILLS = Math.ceil(Math.min(4 * scale, 120))
const CALLS = Math.ceil(Math.min(60 * scale, 2_000))
/** More than a batch, so that some of it is cleared in bursts. */
const TELLS = scale > 1 ? 20_000 : 1_200
/** Instants of the task that recurs. */
const TICKS = 4
const UNTIL_KILL_MAX_MS = scale > 1 ? 400 : 120

/**
 * Real processes that are killed at random and started again, on one store. Each due row takes effect under its stable id,
 * none is lost, and none takes effect under two fences. `folder` is for what is made on the way.
 */
export async function surviveKills(
  db: SqlDatabase,
  kind: 'sqlite' | 'postgres',
  address: string,
  folder: string
): Promise<void> {
  const child = await bundledProgram(join(import.meta.dirname, 'working-child.ts'), folder)
  const log = join(folder, 'effects.log')
  const random = seededRandom(7)
  await migrate(db, [scheduleSchema, lockSchema])
  const integer = kind === 'postgres' ? 'bigint' : 'integer'
  await db.run(function* () {
    yield* execute(`create table effects (id text primary key, fence ${integer} not null)`)
    yield* execute(`create table told (id text primary key, fence ${integer} not null)`)
  })
  const schedule = createSchedule({
    db,
    tasks: {
      call: { run: () => {} },
      tell: { run: () => {} },
      tick: { run: () => {}, recurrence: every(100), misfire: { policy: 'all', catchUpMs: 3_600_000 } }
    }
  })
  const ids = (task: string, count: number): string[] =>
    Array.from({ length: count }, (_, at) => `${task}/${at}@1`).sort()
  await db.run(function* () {
    for (const [task, count] of [
      ['call', CALLS],
      ['tell', TELLS]
    ] as const) {
      for (let from = 0; from < count; from += 10_000) {
        const some = Array.from({ length: Math.min(10_000, count - from) }, (_, at) => ({
          task,
          id: String(from + at),
          dueAt: 1
        }))
        yield* schedule.putAll(some)
      }
    }
  })

  const running = new Set<ChildProcess>()
  const start = async (): Promise<void> => {
    const started = spawn(process.execPath, [child, kind, address, log], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    running.add(started)
    await new Promise<void>((resolve, reject) => {
      started.stdout?.once('data', () => resolve())
      started.once('error', reject)
    })
  }
  const end = (victim: ChildProcess, signal: NodeJS.Signals): Promise<void> =>
    new Promise((resolve) => {
      running.delete(victim)
      victim.once('exit', () => resolve())
      victim.kill(signal)
    })
  const left = async (): Promise<number> => {
    const status = await db.run(() => schedule.status())
    return status.reduce((sum, { task, waiting, held }) => sum + (task === 'tick' ? 0 : waiting + held), 0)
  }

  const ticked = async (): Promise<number> =>
    (await db.run(() => rows("select id from told where id like 'tick@%' limit ?", TICKS))).length

  try {
    await Promise.all(Array.from({ length: PROCESSES }, start))
    for (let kill = 0; kill < KILLS; kill += 1) {
      await sleep(systemClock, 20 + random.below(UNTIL_KILL_MAX_MS))
      const victims = [...running]
      await end(victims[random.below(victims.length)] as ChildProcess, 'SIGKILL')
      await start()
    }
    while ((await left()) > 0 || (await ticked()) < TICKS) await sleep(systemClock, 50)
    await Promise.all([...running].map((one) => end(one, 'SIGTERM')))
  } finally {
    for (const one of running) one.kill('SIGKILL')
  }

  const recorded = async (table: string) =>
    new Map(
      (await db.run(() => rows(`select id, fence from ${table}`))).map((row) => [
        textOf(row, 'id'),
        integerOf(row, 'fence')
      ])
    )
  const effects = await recorded('effects')
  expect([...effects.keys()].sort()).toEqual(ids('call', CALLS))
  const told = await recorded('told')
  const ticks = [...told.keys()].filter((id) => id.startsWith('tick@')).map((id) => Number(id.slice('tick@'.length)))
  expect([...told.keys()].filter((id) => id.startsWith('tell/')).sort()).toEqual(ids('tell', TELLS))
  // No instant is missing between the first and the last.
  ticks.sort((one, other) => one - other)
  expect(ticks).toEqual(ticks.map((_, nth) => (ticks[0] as number) + nth * 100))
  expect(ticks.length).toBeGreaterThanOrEqual(TICKS)

  const holders = new Map<string, Set<string>>()
  const fences = new Map<string, Set<number>>()
  for (const line of readFileSync(log, 'utf8').trimEnd().split('\n')) {
    const [id = '', fence = '', pid = ''] = line.split(' ')
    const key = `${id} ${fence}`
    holders.set(key, (holders.get(key) ?? new Set()).add(pid))
    fences.set(id, (fences.get(id) ?? new Set()).add(Number(fence)))
  }
  // Every attempt had a fence of its own, and the effect stands under one that was really held.
  expect([...holders.values()].every(({ size }) => size === 1)).toBe(true)
  expect([...fences.keys()].sort()).toEqual(ids('call', CALLS))
  for (const [id, fence] of effects) expect(fences.get(id)?.has(fence)).toBe(true)
  expect(await db.run(() => schedule.setAside())).toEqual([])
}
