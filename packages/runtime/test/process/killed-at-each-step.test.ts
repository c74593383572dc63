import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { bundledProgram } from '@enablement/build/program'
import { createAuditLog } from '@enablement/core/audit'
import { integerOf, rows } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { sqlIncidentStore } from '@enablement/runtime/sql'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

/** The steps that one life has at least; a few more when it takes its checkpoint. */
const STEPS_MIN = 30

/** Past every lease: an incident is left to its process for 20 s, a resumed sandbox to its owner for 30 s. */
const LATER_MS = 60_000

const engine = createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm')

describe('an exhausted sandbox whose process is killed by SIGKILL', () => {
  const children = new Set<ChildProcess>()
  let folder = ''
  let program = ''

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'runtime-sigkill-'))
    program = await bundledProgram(path.join(import.meta.dirname, 'mortal-process.ts'), folder)
  })
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })

  /** One life: what it said, or undefined when it was killed. */
  const live = async (database: string, at: number, aheadMs: number) => {
    const child = spawn(process.execPath, [program, database, engine, String(at), String(aheadMs)], {
      stdio: ['ignore', 'pipe', 'pipe']
    })
    children.add(child)
    let said = ''
    let wrong = ''
    child.stdout.on('data', (chunk) => (said += String(chunk)))
    child.stderr.on('data', (chunk) => (wrong += String(chunk)))
    const ended = await new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)))
    children.delete(child)
    if (ended === 'SIGKILL') return undefined
    expect(wrong).toBe('')
    return JSON.parse(said) as { readonly how: string; readonly done: unknown; readonly steps: number }
  }

  /** Kills the first life at `first` and its successor at `second`; a third one finishes. */
  const lives = async (first: number, second: number): Promise<boolean> => {
    const database = path.join(folder, `${first}-${second}.db`)
    let finished = await live(database, first, 0)
    const killed = finished === undefined
    finished ??= await live(database, second, LATER_MS)
    finished ??= await live(database, Number.MAX_SAFE_INTEGER, 2 * LATER_MS)
    const at = `killed at ${first} and ${second}`
    await using db = sqliteDatabase({ path: database })
    const incidents = await sqlIncidentStore(db).list('acme', { open: false, limit: 10 })
    // One killed after its last step left nothing to finish: its successor then ran another agent.
    const agents = incidents.length
    expect(agents, at).toBeLessThanOrEqual(finished?.how === 'afresh' && killed ? 3 : 1)
    expect(
      incidents.map(({ state }) => state),
      at
    ).toEqual(Array.from({ length: agents }, () => 'closed'))
    expect(finished?.done, at).toEqual({ outcome: 'completed', value: 96 })
    // One request for each incident, however often it was asked; each step once on record.
    const asked = await db.run(() => rows('select asks from asked'))
    expect(asked.length, at).toBe(agents)
    for (const row of asked) expect(integerOf(row, 'asks'), at).toBeLessThanOrEqual(3)
    const audit = createAuditLog({ db })
    expect(await audit.verify('acme'), at).toMatchObject({ outcome: 'intact' })
    const actions = (await audit.read('acme')).map(({ action }) => action)
    for (const once of ['detected', 'checkpointed', 'asked', 'raised', 'closed']) {
      const times = actions.filter((action) => action === `memory-incident.${once}`).length
      expect(times, `${once}, ${at}`).toBeLessThanOrEqual(agents)
    }
    return killed
  }

  it('between any two steps is carried to its end by the next: one request, one resume', async () => {
    const scale = inject('scale')
    // Every step in `npm run soak`; elsewhere some, spread over the whole life, and other ones on the built output.
    const stride = scale > 1 ? 1 : scale === 1 ? 19 : 41
    let kills = 0
    for (let first = scale > 1 ? 0 : 3; await lives(first, 2 + ((first * 5) % 17)); first += stride) kills += 1
    expect(kills * stride).toBeGreaterThanOrEqual(STEPS_MIN - stride)
  }, 600_000)
})
