import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Child, childProcesses } from '@enablement/build/child-processes'
import { bundledProgram } from '@enablement/build/program'
import { sleep, systemClock } from '@enablement/core'
import { openJournal } from '@enablement/core/journal'
import { migrate, rows, textOf } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom } from '@enablement/core/testing'
import { createMeter } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { beforeEach, describe, expect, inject, it } from 'vitest'
import { isSentBy, type JournalingChildCall, USED_AT, usedOnce } from './journaling.ts'
import { fileWitness } from './witness.ts'

const scale = inject('scale')
const rounds = Array.from({ length: scale > 1 ? 20 : 1 }, (_, at) => at + 1)
const EVENTS = scale < 1 ? 200 : scale > 1 ? 4_000 : 1_000
const OUTAGES = scale > 1 ? 8 : 3
const NAMES = ['one', 'other'] as const

/** Keeps everybody else from writing, as a backup or a stuck process would. */
function lockable(file: string) {
  const database = new DatabaseSync(file)
  database.exec('pragma busy_timeout = 10000')
  return {
    lock: () => database.exec('begin immediate'),
    unlock: () => database.exec('rollback'),
    [Symbol.dispose]: () => database.close()
  }
}

describe('two processes with journals that are killed while the ledger is locked', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'metering-journals-'))
    return () => rmSync(folder, { recursive: true })
  })

  it.each(rounds)(
    'lose nothing that they held, and count nothing twice (round %d)',
    { timeout: 120_000 },
    async (seed) => {
      const random = seededRandom(seed)
      const file = join(folder, 'ledger.db')
      await using db = sqliteDatabase({ path: file })
      await migrate(db, [meteringSchema])
      const log = join(folder, 'told.log')
      writeFileSync(log, '')
      const program = await bundledProgram(join(import.meta.dirname, 'journaling-child.ts'), folder)
      const children = childProcesses()
      const start = (name: string): Child => {
        const own = join(folder, name)
        const call: JournalingChildCall = { file, folder: own, log, name, events: EVENTS, seed: random.below(2 ** 31) }
        return children.start(program, [JSON.stringify(call)])
      }
      using ledger = lockable(file)
      const running = NAMES.map(start)
      const witness = fileWitness(log)
      const heldIn = (): number => witness.lines().filter(([, , outcome]) => outcome === 'held').length
      const sends = NAMES.flatMap((name) => Array.from({ length: EVENTS }, (_, id) => isSentBy(name, id))).filter(
        Boolean
      ).length
      let killedHolding = 0
      try {
        for (let outage = 1; outage <= OUTAGES; outage++) {
          const before = (EVENTS * 9 * outage) / (OUTAGES + 2)
          while (statSync(log).size < before) await sleep(systemClock, 2)
          const held = heldIn()
          ledger.lock()
          // Until something is held that nobody can have settled; nothing is when there is nothing left to send.
          while (heldIn() === held && witness.lines().length < sends) await sleep(systemClock, 5)
          await sleep(systemClock, random.below(30))
          for (const [at, name] of NAMES.entries()) {
            if (random.below(3) === 0) continue
            await (running[at] as Child).end('SIGKILL')
            killedHolding += 1
            running[at] = start(name)
          }
          // Some begin anew while it is still locked.
          await sleep(systemClock, random.below(2) * 200)
          ledger.unlock()
        }
        await Promise.all(running.map((child) => child.said('finished')))
        // Whatever it still holds, somebody else settles.
        await Promise.all(running.map((child) => child.end('SIGKILL')))
      } finally {
        await children.endAll()
      }
      expect(killedHolding).toBeGreaterThan(0)

      const store = sqlUsageStore(db)
      for (const name of NAMES) {
        await using journal = await openJournal({ folder: join(folder, name) })
        const [duty] = createMeter({ store, journal, onStoreFailure: 'journal' }).duties
        await duty?.run({ signal: new AbortController().signal })
        expect(await duty?.run({ signal: new AbortController().signal })).toEqual({ handled: 0 })
      }
      const counted = await db.run(() => rows('select transaction_id from metering_usage'))
      const ids = counted.map((row) => textOf(row, 'transaction_id')).sort()
      const sent = Array.from({ length: EVENTS }, (_, id) => usedOnce(id))
      expect(ids).toEqual(sent.map(({ transactionId }) => transactionId).sort())
      const whole = { tenant: 'org', subscription: 'sub', from: USED_AT, to: USED_AT + EVENTS * 60_000 }
      const quantity = sent.reduce((sum, event) => sum + BigInt(event.quantity), 0n)
      expect(await store.totals(whole)).toMatchObject([{ quantity, events: EVENTS }])
      const told = witness.lines().map(([, id, outcome]) => [id, outcome] as const)
      expect(told.filter(([, outcome]) => !['recorded', 'duplicate', 'held'].includes(outcome ?? ''))).toEqual([])
      const recorded = told.flatMap(([id, outcome]) => (outcome === 'recorded' ? [id] : []))
      expect(new Set(recorded).size).toBe(recorded.length)
    }
  )
})
