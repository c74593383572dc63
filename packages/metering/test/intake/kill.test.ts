import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import { openJournal } from '@enablement/core/journal'
import { migrate, rows } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createMeter } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'
import { work } from './stage.ts'

/** What the process said was stored or held before it was killed, after `lines` lines. */
async function runAndKill(program: readonly string[], lines: number): Promise<readonly number[]> {
  const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] })
  const acknowledged: number[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const [id, outcome] = line.split(' ')
    expect(['recorded', 'held', 'duplicate']).toContain(outcome)
    acknowledged.push(Number(id))
    if (acknowledged.length === lines) child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  expect(child.signalCode).toBe('SIGKILL')
  return acknowledged
}

describe('a process that is killed with events in its journal', () => {
  it('has each that it acknowledged counted exactly once after a restart', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'metering-'))
    try {
      const file = path.join(folder, 'ledger.db')
      const journalFolder = path.join(folder, 'journal')
      await using db = sqliteDatabase({ path: file })
      await migrate(db, [meteringSchema])
      const program = await bundledProgram(path.join(import.meta.dirname, 'journaling-process.ts'), folder)
      const acknowledged = new Set<number>()
      for (const [round, lines] of [7, 26, 41].entries()) {
        for (const id of await runAndKill([program, file, journalFolder, String(round * 30)], lines))
          acknowledged.add(id)
      }
      await using journal = await openJournal({ folder: journalFolder })
      const meter = createMeter({ store: sqlUsageStore(db), journal, onStoreFailure: 'journal' })
      await work(meter)
      expect(await work(meter)).toBe(0)
      const counted = await db.run(() => rows('select transaction_id from metering_usage'))
      const ids = new Set(counted.map((row) => Number(String(row['transaction_id']).slice(1))))
      for (const id of acknowledged) expect(ids).toContain(id)
      // The last one of a round may be durable without having been acknowledged.
      expect(ids.size - acknowledged.size).toBeLessThanOrEqual(3)
      const at = Date.UTC(2026, 0, 15)
      const [total] = await meter.totals({ tenant: 'org', subscription: 'sub', from: at, to: at + 1 })
      expect(total).toMatchObject({ quantity: BigInt(ids.size), events: ids.size })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
