import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import { createOutbox, type OutboxOptions, outboxSchema } from '@enablement/core/outbox'
import { execute, migrate, rows } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { crashPoints, seededRandom, testPlatform, unlessCrashed, withStoreClock } from '@enablement/core/testing'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { receiver, runDelivery } from './receiver.ts'

/** Each crash point is tried on the sources, a fifth of them on the built output. */
const stride = Math.ceil(1 / inject('scale'))
/** Kills of a process that delivers, and the messages of each of three keys. */
const ROUNDS = Math.ceil(Math.min(2 * inject('scale'), 40))
const PER_KEY = 10 * ROUNDS

describe('an outbox whose process dies', () => {
  it.each([0, 60_000])(
    'delivers what was committed, in order and under the same ids, wherever that was (kept for %d ms)',
    async (retentionMs) => {
      let tried = 0
      for (let at = 0; ; at += stride) {
        const platform = testPlatform()
        const { clock } = platform
        await using disk = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
        await migrate(disk, [outboxSchema])
        await disk.run(() => execute('create table told (payload text primary key) strict'))
        const db = crashPoints(disk, { at })
        const reached = receiver()
        reached.answer = ({ payload, attempt }) =>
          payload === '1' && attempt === 1 ? { outcome: 'failed' } : { outcome: 'delivered' }
        const common: Omit<OutboxOptions, 'db'> = {
          name: 'mail',
          platform,
          deliver: reached.deliver,
          leaseMs: 1_000,
          retentionMs,
          *settled(settlements) {
            for (const { message } of settlements)
              yield* execute('insert into told values (?)', String(message.payload))
          }
        }
        const outbox = createOutbox({ db, ...common })
        const scenario = async (): Promise<void> => {
          await db.run(function* () {
            for (const payload of ['0', '1', '2']) yield* outbox.put({ payload, key: 'k' })
          })
          await runDelivery(platform, outbox)
          await clock.advance(2_000)
          await runDelivery(platform, outbox)
        }
        await scenario().catch(unlessCrashed)

        const survivor = createOutbox({ db: disk, ...common })
        const { pending } = await survivor.health()
        for (let round = 0; round < 4; round++) {
          await clock.advance(2_000)
          await runDelivery(platform, survivor)
        }
        const payloads = reached.payloads().map(String)
        const firsts = [...new Set(payloads)]
        expect(firsts).toEqual(pending === 0 && payloads.length === 0 ? [] : ['0', '1', '2'])
        expect(payloads).toEqual([...payloads].sort())
        expect(new Set(reached.arrived.map(({ id }) => id)).size).toBe(firsts.length)
        expect(await survivor.health()).toMatchObject({ pending: 0, dead: 0 })
        expect((await disk.run(() => rows('select payload from told'))).map(({ payload }) => payload)).toEqual(firsts)
        tried = at
        if (db.crashed === undefined) break
      }
      // A scenario that ended early would have tried little.
      expect(tried).toBeGreaterThan(30)
    }
  )

  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-outbox-killed-'))
    return () => rmSync(folder, { recursive: true })
  })
  let started: ChildProcess | undefined
  afterEach(() => void started?.kill('SIGKILL'))

  it('by kill -9 in the middle of deliveries loses nothing and lets nothing overtake', async () => {
    const child = await bundledProgram(join(import.meta.dirname, 'delivering-child.ts'), folder)
    const path = join(folder, 'outbox.db')
    const random = seededRandom(5)
    await using db = sqliteDatabase({ path })
    await migrate(db, [outboxSchema])
    const lines: string[] = []
    const outbox = createOutbox({
      db,
      name: 'mail',
      leaseMs: 200,
      async deliver({ id, key, payload }) {
        lines.push(`${id} ${key} ${String(payload)}`)
        return { outcome: 'delivered' }
      }
    })
    await db.run(function* () {
      for (let at = 0; at < 3 * PER_KEY; at++)
        yield* outbox.put({ payload: String(Math.floor(at / 3)), key: `k${at % 3}` })
    })
    for (let round = 0; round < ROUNDS; round++) {
      started = spawn(process.execPath, [child, path], { stdio: ['ignore', 'pipe', 'inherit'] })
      let left = 1 + random.below(15)
      for await (const line of createInterface({ input: started.stdout as NodeJS.ReadableStream })) {
        lines.push(line)
        left -= 1
        if (left === 0) started.kill('SIGKILL')
      }
    }
    const { signal } = new AbortController()
    while ((await outbox.health()).pending > 0) {
      const run = await outbox.duties[0]?.run({ signal })
      await new Promise((resolve) => setTimeout(resolve, run?.nextDueInMs ?? 0))
    }

    for (const key of ['k0', 'k1', 'k2']) {
      const places = lines.filter((line) => line.split(' ')[1] === key).map((line) => Number(line.split(' ')[2]))
      expect(places).toEqual([...places].sort((one, other) => one - other))
      expect(new Set(places).size).toBe(PER_KEY)
    }
    expect(new Set(lines).size).toBe(3 * PER_KEY)
  }, 600_000)
})
